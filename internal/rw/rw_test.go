package rw_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

type readable struct {
	*bare
	reading
}

func newReadable() readable {
	b := newBare()
	return readable{b, reading{sources: new([]io.Reader), into: b}}
}

func TestStatusIsTheFirstFinalOne(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		handle func(http.ResponseWriter)
		want   int
	}{
		"nothing":              {func(http.ResponseWriter) {}, 0},
		"explicit":             {func(w http.ResponseWriter) { w.WriteHeader(404) }, 404},
		"superfluous":          {func(w http.ResponseWriter) { w.WriteHeader(404); w.WriteHeader(500) }, 404},
		"implied by Write":     {func(w http.ResponseWriter) { _, _ = w.Write(nil); w.WriteHeader(500) }, 200},
		"implied by a string":  {func(w http.ResponseWriter) { io.WriteString(w, "x"); w.WriteHeader(500) }, 200},
		"implied by Flush":     {func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, 200},
		"implied by ReadFrom":  {func(w http.ResponseWriter) { copyTo(w, "x"); w.WriteHeader(500) }, 200},
		"empty source":         {func(w http.ResponseWriter) { copyTo(w, ""); w.WriteHeader(404) }, 404},
		"continue":             {func(w http.ResponseWriter) { w.WriteHeader(100) }, 0},
		"early hints":          {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(404) }, 404},
		"early hints, implied": {func(w http.ResponseWriter) { w.WriteHeader(103); copyTo(w, "x") }, 200},
		"switching protocols":  {func(w http.ResponseWriter) { w.WriteHeader(101); w.WriteHeader(200) }, 101},
		"unusual":              {func(w http.ResponseWriter) { w.WriteHeader(999) }, 999},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, seen := rw.Wrap(base(true, false, true), rw.Hooks{})
			tt.handle(w)
			assert.Equal(t, tt.want, seen.Status())

			var hooked []int
			w, seen = rw.Wrap(base(true, false, true), rw.Hooks{
				Header: func(status int, _ http.Header) { hooked = append(hooked, status) },
			})
			tt.handle(w)
			assert.Equal(t, tt.want, seen.Status(), "with a hook")
			if tt.want == 0 {
				assert.Empty(t, hooked)
			} else {
				assert.Equal(t, []int{tt.want}, hooked, "the hook runs once")
			}
		})
	}
}

func copyTo(w http.ResponseWriter, s string) {
	_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(s))
}

func TestEveryStatusReachesBase(t *testing.T) {
	t.Parallel()

	b := newBare()
	w, _ := rw.Wrap(b, rw.Hooks{})
	for _, status := range []int{103, 404, 500, 103} { // To log what is superfluous is up to base.
		w.WriteHeader(status)
	}
	assert.Equal(t, []int{103, 404, 500, 103}, b.statuses)
}

func TestHeaderHookChangesTheHeader(t *testing.T) {
	t.Parallel()

	b := newBare()
	w, _ := rw.Wrap(b, rw.Hooks{Header: func(status int, h http.Header) {
		assert.Equal(t, http.StatusTeapot, status)
		assert.Equal(t, "1", h.Get("Inner"))
		assert.Empty(t, b.statuses, "base must not have been told yet")
		h.Set("Outer", "2")
	}})
	w.Header().Set("Inner", "1")
	w.WriteHeader(http.StatusTeapot)
	assert.Equal(t, "2", b.header.Get("Outer"))
}

func TestBodyHookSeesWhatBaseAccepted(t *testing.T) {
	t.Parallel()

	var tee []byte
	b := newReadable()
	w, seen := rw.Wrap(b, rw.Hooks{Body: func(p []byte) { tee = append(tee, p...) }})
	_, _ = w.Write([]byte("write "))
	_, _ = io.WriteString(w, "string ")
	n, err := io.Copy(w, strings.NewReader("copy"))
	require.NoError(t, err)
	assert.EqualValues(t, 4, n)
	_, err = io.Copy(w, struct{ io.Reader }{strings.NewReader(" plainly")})
	require.NoError(t, err)

	b.accept = 3
	_, err = w.Write([]byte(" refused"))
	require.ErrorIs(t, err, errBase)

	assert.Equal(t, "write string copy plainly re", string(tee))
	assert.Equal(t, string(tee), string(b.body))
	assert.Equal(t, int64(len(tee)), seen.Written())
	assert.Empty(t, *b.sources, "a tee cannot see what goes through ReadFrom")
}

func TestErrIsTheFirstErrorOfWriting(t *testing.T) {
	t.Parallel()

	b := newReadable()
	b.err = errors.New("the source, perhaps")
	w, seen := rw.Wrap(b, rw.Hooks{})
	_, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("x")})
	require.ErrorIs(t, err, b.err)
	require.NoError(t, seen.Err())
	assert.EqualValues(t, 1, seen.Written())

	b.accept = 1
	_, err = w.Write([]byte("xyz"))
	require.ErrorIs(t, err, errBase)
	assert.Equal(t, errBase, seen.Err())
	assert.EqualValues(t, 2, seen.Written())

	b.failure = errors.New("once more")
	_, err = w.Write([]byte("xyz"))
	require.ErrorIs(t, err, b.failure)
	assert.Equal(t, errBase, seen.Err(), "the first one says what happened")
}

type flushFailing struct {
	*bare
	flushing

	err error
}

func (f flushFailing) FlushError() error { return f.err }

func TestFlushThatFailsIsNone(t *testing.T) {
	t.Parallel()

	hooks := rw.Hooks{Flush: func() { t.Error("the hook ran") }}
	w, seen := rw.Wrap(flushFailing{newBare(), flushing{new(int)}, errBase}, hooks)
	require.ErrorIs(t, http.NewResponseController(w).Flush(), errBase)
	assert.Equal(t, errBase, seen.Err())
	assert.False(t, seen.Flushed())

	w, seen = rw.Wrap(flushFailing{newBare(), flushing{new(int)}, http.ErrNotSupported}, hooks)
	require.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
	require.NoError(t, seen.Err(), "base has the method without the means")
	assert.False(t, seen.Flushed())
}

func TestReadFromAfterTheHeaderIsLeftToBase(t *testing.T) {
	t.Parallel()

	b := newReadable()
	w, _ := rw.Wrap(b, rw.Hooks{Header: func(int, http.Header) {}})
	w.WriteHeader(http.StatusOK)
	copyTo(w, "short")
	assert.Len(t, *b.sources, 1)
}

func TestReadFromHandsTheFileItselfToBase(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789abcdef", 1000)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))

	for name, hooks := range map[string]rw.Hooks{
		"no hook":     {},
		"header hook": {Header: func(int, http.Header) {}},
		"other hooks": {Flush: func() {}, Hijack: func() {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			file, err := os.Open(path)
			require.NoError(t, err)
			defer file.Close()

			b := newReadable()
			w, _ := rw.Wrap(b, rw.Hooks{})
			w, seen := rw.Wrap(w, hooks)
			n, err := w.(io.ReaderFrom).ReadFrom(file)
			require.NoError(t, err)
			assert.EqualValues(t, len(content), n)
			assert.Equal(t, []io.Reader{file}, *b.sources)
			assert.Equal(t, content, string(b.body))
			assert.EqualValues(t, len(content), seen.Written())
		})
	}
}

func TestReadFromPassesTheErrorOfTheSource(t *testing.T) {
	t.Parallel()

	broken := errors.New("source broke")
	for name, hooks := range map[string]rw.Hooks{
		"no hook":     {},
		"header hook": {Header: func(int, http.Header) {}},
		"body hook":   {Body: func([]byte) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, seen := rw.Wrap(newReadable(), hooks)
			_, err := w.(io.ReaderFrom).ReadFrom(iotest.ErrReader(broken))
			require.ErrorIs(t, err, broken)
			assert.Zero(t, seen.Status(), "the handler may still answer 500")
			w.WriteHeader(http.StatusInternalServerError)
			assert.Equal(t, http.StatusInternalServerError, seen.Status())

			_, err = w.(io.ReaderFrom).ReadFrom(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken)))
			require.ErrorIs(t, err, broken)
			assert.EqualValues(t, 4, seen.Written())
			assert.NoError(t, seen.Err())
		})
	}
}

func TestHijackThatFailsIsNone(t *testing.T) {
	t.Parallel()

	w, seen := rw.Wrap(struct {
		*bare
		hijacking
	}{newBare(), hijacking{errBase}}, rw.Hooks{Hijack: func() { t.Error("the hook ran") }})
	_, _, err := w.(http.Hijacker).Hijack()
	require.ErrorIs(t, err, errBase)
	assert.False(t, seen.Hijacked())
	w.WriteHeader(http.StatusUpgradeRequired)
	assert.Equal(t, http.StatusUpgradeRequired, seen.Status())
}

func TestNothingIsSeenAfterAHijack(t *testing.T) {
	t.Parallel()

	b := newBare()
	b.accept = 1
	hijacks := 0
	w, seen := rw.Wrap(struct {
		*bare
		hijacking
	}{b, hijacking{}}, rw.Hooks{
		Header: func(int, http.Header) { t.Error("the header hook ran") },
		Hijack: func() { hijacks++ },
	})
	for range 2 {
		_, _, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
	}
	w.WriteHeader(http.StatusOK)
	_, err := w.Write([]byte("late"))
	require.Error(t, err)
	assert.Equal(t, 1, hijacks)
	assert.Zero(t, seen.Status())
	assert.NoError(t, seen.Err())
}

func TestInvalidStatusIsLeftToBase(t *testing.T) {
	t.Parallel()

	for _, status := range []int{0, 99, 1000, -1} {
		w, seen := rw.Wrap(newBare(), rw.Hooks{Header: func(int, http.Header) { t.Error("the hook ran") }})
		w.WriteHeader(status) // A panic in net/http, and none in bare.
		assert.Zero(t, seen.Status())
	}
}
