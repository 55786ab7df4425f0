package rw_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

// base is a writer with just the capabilities asked for.
func base(flushes, hijacks, reads bool) http.ResponseWriter {
	b := newBare()
	f := flushing{new(int)}
	h := hijacking{}
	r := reading{sources: new([]io.Reader), into: b}
	switch {
	case flushes && hijacks && reads:
		return struct {
			*bare
			flushing
			hijacking
			reading
		}{b, f, h, r}
	case flushes && hijacks:
		return struct {
			*bare
			flushing
			hijacking
		}{b, f, h}
	case flushes && reads:
		return struct {
			*bare
			flushing
			reading
		}{b, f, r}
	case hijacks && reads:
		return struct {
			*bare
			hijacking
			reading
		}{b, h, r}
	case flushes:
		return struct {
			*bare
			flushing
		}{b, f}
	case hijacks:
		return struct {
			*bare
			hijacking
		}{b, h}
	case reads:
		return struct {
			*bare
			reading
		}{b, r}
	default:
		return b
	}
}

func TestOffersWhatBaseOffers(t *testing.T) {
	t.Parallel()

	for bits := range 8 {
		flushes, hijacks, reads := bits&1 != 0, bits&2 != 0, bits&4 != 0
		t.Run(fmt.Sprintf("flush=%t hijack=%t readFrom=%t", flushes, hijacks, reads), func(t *testing.T) {
			t.Parallel()

			w := base(flushes, hijacks, reads)
			for depth := range 3 {
				var seen *rw.Response
				w, seen = rw.Wrap(w, rw.Hooks{})
				assertOffers(t, w, flushes, hijacks, reads)

				flushErr := http.NewResponseController(w).Flush()
				_, _, hijackErr := http.NewResponseController(w).Hijack()
				assert.Equal(t, flushes, flushErr == nil, "depth %d", depth)
				assert.Equal(t, hijacks, hijackErr == nil, "depth %d", depth)
				assert.Equal(t, flushes, seen.Flushed(), "depth %d", depth)
				assert.Equal(t, hijacks, seen.Hijacked(), "depth %d", depth)
				if !flushes {
					require.ErrorIs(t, flushErr, http.ErrNotSupported)
					assert.Zero(t, seen.Status(), "a flush that cannot be done sends no header")
				}
			}
		})
	}
}

func assertOffers(t *testing.T, w http.ResponseWriter, flushes, hijacks, reads bool) {
	t.Helper()

	_, ok := w.(http.Flusher)
	assert.Equal(t, flushes, ok, "http.Flusher")
	_, ok = w.(http.Hijacker)
	assert.Equal(t, hijacks, ok, "http.Hijacker")
	_, ok = w.(io.ReaderFrom)
	assert.Equal(t, reads, ok, "io.ReaderFrom")
	_, ok = w.(http.Pusher)
	assert.False(t, ok, "http.Pusher")
	_, ok = w.(interface{ Status() int })
	assert.False(t, ok, "what was seen is not for handlers")
}

func TestSeesWhatAControllerReachesByUnwrapping(t *testing.T) {
	t.Parallel()

	var hooked []string
	w, seen := rw.Wrap(unwrapping{newBare(), base(true, true, true)}, rw.Hooks{
		Header: func(int, http.Header) { hooked = append(hooked, "header") },
		Flush:  func() { hooked = append(hooked, "flush") },
		Hijack: func() { hooked = append(hooked, "hijack") },
	})
	assertOffers(t, w, false, true, false)

	require.NoError(t, http.NewResponseController(w).Flush())
	_, _, err := http.NewResponseController(w).Hijack()
	require.NoError(t, err)

	assert.Equal(t, []string{"header", "flush", "hijack"}, hooked)
	assert.Equal(t, http.StatusOK, seen.Status())
}

func TestWrapIsOneAllocation(t *testing.T) {
	for bits := range 8 {
		w := base(bits&1 != 0, bits&2 != 0, bits&4 != 0)
		data := []byte("data")
		assert.InDelta(t, 1, testing.AllocsPerRun(100, func() {
			w.(interface{ reset() }).reset()
			wrapped, seen := rw.Wrap(w, rw.Hooks{})
			wrapped.WriteHeader(http.StatusTeapot)
			_, _ = wrapped.Write(data)
			_, _ = io.WriteString(wrapped, "data")
			_ = http.NewResponseController(wrapped).Flush()
			if seen.Status() != http.StatusTeapot || seen.Written() != 8 {
				t.Errorf("seen: %d, %d bytes", seen.Status(), seen.Written())
			}
		}), 0, "capabilities %03b", bits)
	}
}
