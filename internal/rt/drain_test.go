package rt_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

func TestKeptBodyThatBrokeSaysHow(t *testing.T) {
	for name, end := range map[string]error{"reset": errReset, "cut off": io.ErrUnexpectedEOF} {
		t.Run(name, func(t *testing.T) {
			resp := chunked(newBody("the first of it", end))
			rt.Keep(t.Context(), resp, nil)
			_, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, end)
			require.NotErrorIs(t, err, rt.ErrBodyDropped)
		})
	}
}

// Even Close of such a body waits while net/http waits for its first bytes: only the end of the
// attempt's context frees the Read. Without one to end, the body is not read at all.
func TestStalledGzipIsGivenUpInTime(t *testing.T) {
	for network, serve := range networks() {
		for way, discard := range map[string]func(context.Context, *http.Response, func()){
			"Discard": rt.Discard, "Keep": rt.Keep,
		} {
			bubble(t, network+"/"+way, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				resp, _ := getUnder(ctx, t, serve(t, http.HandlerFunc(unzipped)), "http://cart.test")
				start := time.Now()
				discard(t.Context(), resp, cancel)
				assert.Equal(t, rt.DrainTime, time.Since(start))
			})
			bubble(t, network+"/"+way+" without an attempt to end", func(t *testing.T) {
				resp, _ := get(t, serve(t, http.HandlerFunc(unzipped)), "http://cart.test")
				start := time.Now()
				discard(t.Context(), resp, nil)
				assert.Zero(t, time.Since(start))
			})
		}
	}
}

var errNever = errors.New("never")

// A body whose Close and Read must not meet is left to the context of its attempt.
func TestAttemptIsEndedInsteadOfClosingUnderARead(t *testing.T) {
	bubble(t, "50ms", func(t *testing.T) {
		ended := make(chan struct{})
		b := &untouchable{ended: ended}
		rt.Discard(t.Context(), chunked(b), func() { close(ended) })
		assert.False(t, b.met)
	})
}

type untouchable struct {
	ended        chan struct{}
	reading, met bool
}

func (u *untouchable) Read([]byte) (int, error) {
	u.reading = true
	<-u.ended
	u.reading = false
	return 0, errNever
}

func (u *untouchable) Close() error {
	u.met = u.met || u.reading
	return nil
}
