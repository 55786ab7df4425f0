package rw_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

// watcher writes down what it is told.
type watcher struct {
	began    []int
	kinds    []string
	hijacked int
}

func (w *watcher) Began(status int, header http.Header) {
	w.began = append(w.began, status)
	w.kinds = append(w.kinds, header.Get("Content-Type"))
}

func (w *watcher) Hijacked() { w.hijacked++ }

// other is a Watcher of another type.
type other struct{ watcher }

func TestWatcherIsToldOfTheFinalStatusOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   []int
	}{
		"nothing":        {func(http.ResponseWriter) {}, nil},
		"a status":       {func(w http.ResponseWriter) { w.WriteHeader(404) }, []int{404}},
		"a write":        {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, []int{200}},
		"a string":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, []int{200}},
		"a flush":        {func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, []int{200}},
		"hints before":   {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(204) }, []int{204}},
		"an upgrade":     {func(w http.ResponseWriter) { w.WriteHeader(101) }, []int{101}},
		"two statuses":   {func(w http.ResponseWriter) { w.WriteHeader(500); w.WriteHeader(200) }, []int{500}},
		"status, writes": {func(w http.ResponseWriter) { w.WriteHeader(500); _, _ = io.WriteString(w, "x") }, []int{500}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := new(watcher)
			w, _ := rw.Wrap(httptest.NewRecorder(), rw.Hooks{Watch: seen})
			w.Header().Set("Content-Type", "text/x")
			tt.answer(w)
			assert.Equal(t, tt.want, seen.began)
			for _, kind := range seen.kinds {
				assert.Equal(t, "text/x", kind, "it sees the header")
			}
			assert.Zero(t, seen.hijacked)
		})
	}
}

func TestWatcherComesAfterTheHeaderHook(t *testing.T) {
	seen := new(watcher)
	w, _ := rw.Wrap(httptest.NewRecorder(), rw.Hooks{Watch: seen, Header: func(_ int, header http.Header) {
		header.Set("Content-Type", "text/hooked")
	}})
	w.WriteHeader(200)
	assert.Equal(t, []string{"text/hooked"}, seen.kinds)
}

// hijackable is a writer that can be taken over once.
type hijackable struct {
	*httptest.ResponseRecorder

	refuses bool
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.refuses {
		return nil, nil, http.ErrHijacked
	}
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return ours, bufio.NewReadWriter(bufio.NewReader(ours), bufio.NewWriter(ours)), nil
}

func TestWatcherIsToldOfAHijack(t *testing.T) {
	seen := new(watcher)
	w, _ := rw.Wrap(hijackable{httptest.NewRecorder(), false}, rw.Hooks{Watch: seen})
	for range 2 {
		conn, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_ = conn.Close()
	}
	assert.Equal(t, 1, seen.hijacked, "once")
	w.WriteHeader(200)
	assert.Empty(t, seen.began, "what follows is no answer")

	seen = new(watcher)
	w, _ = rw.Wrap(hijackable{httptest.NewRecorder(), true}, rw.Hooks{Watch: seen})
	_, _, err := http.NewResponseController(w).Hijack()
	require.ErrorIs(t, err, http.ErrHijacked)
	assert.Zero(t, seen.hijacked)
}

// passing is a middleware's writer that can be unwrapped.
type passing struct{ http.ResponseWriter }

func (p passing) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// closed is one that cannot.
type closed struct{ http.ResponseWriter }

func TestFindLooksThroughWriters(t *testing.T) {
	base := httptest.NewRecorder()
	outer, inner, another := new(watcher), new(watcher), new(other)
	first, _ := rw.Wrap(base, rw.Hooks{Watch: outer})
	second, _ := rw.Wrap(passing{first}, rw.Hooks{Watch: another})
	third, _ := rw.Wrap(second, rw.Hooks{})
	fourth, _ := rw.Wrap(third, rw.Hooks{Watch: inner})
	for name, tt := range map[string]struct {
		w    http.ResponseWriter
		want *watcher
	}{
		"none of ours":           {base, nil},
		"itself":                 {first, outer},
		"through a middleware":   {passing{passing{first}}, outer},
		"past one of other type": {second, outer},
		"past one without":       {third, outer},
		"the one next to it":     {fourth, inner},
		"not through what hides": {closed{fourth}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found, ok := rw.Find[*watcher](tt.w)
			assert.Equal(t, tt.want != nil, ok)
			assert.Same(t, tt.want, found)
		})
	}
	found, ok := rw.Find[*other](fourth)
	assert.True(t, ok)
	assert.Same(t, another, found)
}

// slow is a client for which each write and flush takes a second.
type slow struct{ *httptest.ResponseRecorder }

func (s slow) Write(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.ResponseRecorder.Write(p)
}

func (s slow) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

func (s slow) ReadFrom(src io.Reader) (int64, error) {
	time.Sleep(time.Second)
	return io.Copy(s.ResponseRecorder, src)
}

func (s slow) Flush() { time.Sleep(time.Second) }

func TestBlockedIsTheTimeOfWritesThatCanWait(t *testing.T) {
	const most = 2047 // bytes that nothing waits for
	write := func(sizes ...int) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for _, size := range sizes {
				_, _ = w.Write(make([]byte, size))
			}
		}
	}
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   time.Duration
	}{
		"nothing":             {func(http.ResponseWriter) {}, 0},
		"a header":            {func(w http.ResponseWriter) { w.WriteHeader(200) }, 0},
		"a short answer":      {write(most), 0},
		"in pieces":           {write(1000, 1000, 47), 0},
		"a long answer":       {write(most + 1), time.Second},
		"the last of pieces":  {write(1000, 1000, 48), time.Second},
		"each after that":     {write(1000, 1000, 48, 1, 1), 3 * time.Second},
		"a long string":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 3000)) }, time.Second},
		"a short string":      {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, 0},
		"a flush":             {func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, time.Second},
		"a copy":              {func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) }, time.Second},
		"work between writes": {func(w http.ResponseWriter) { write(1)(w); time.Sleep(time.Hour); write(1)(w) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, seen := rw.Wrap(slow{httptest.NewRecorder()}, rw.Hooks{Timed: true})
				tt.answer(w)
				assert.Equal(t, tt.want, seen.Blocked())
			})
			synctest.Test(t, func(t *testing.T) {
				w, seen := rw.Wrap(slow{httptest.NewRecorder()}, rw.Hooks{})
				tt.answer(w)
				assert.Zero(t, seen.Blocked(), "not without being told to")
			})
		})
	}
}
