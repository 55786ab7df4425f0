package rt_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

// discards are the two ways to get rid of a response, where they are the same.
func discards() map[string]func(context.Context, *http.Response) {
	return map[string]func(context.Context, *http.Response){"Discard": discard, "Keep": keep}
}

func discard(ctx context.Context, resp *http.Response) { rt.Discard(ctx, resp, cancelOf(resp)) }

func keep(ctx context.Context, resp *http.Response) { rt.Keep(ctx, resp, cancelOf(resp)) }

type cancelKey struct{}

// cancelOf returns what ends the attempt that resp came from, or nil for one that no attempt made.
func cancelOf(resp *http.Response) func() {
	if resp == nil || resp.Request == nil {
		return nil
	}
	return resp.Request.Context().Value(cancelKey{}).(context.CancelFunc)
}

// They are part of what is documented, and a decision record names them.
func TestBoundsOfDraining(t *testing.T) {
	assert.Equal(t, 65536, rt.DrainBytes)
	assert.Equal(t, 50*time.Millisecond, rt.DrainTime)
}

func TestSmallBodyIsKeptWhole(t *testing.T) {
	for name, size := range map[string]int{
		"empty": 0, "one byte": 1, "a page": 4096, "just the bound": rt.DrainBytes,
	} {
		for _, length := range []int64{-1, int64(size)} {
			t.Run(name, func(t *testing.T) {
				content := strings.Repeat("x", size)
				b := newBody(content, io.EOF)
				resp := chunked(b)
				resp.ContentLength = length
				keep(t.Context(), resp)
				assert.True(t, b.isClosed())
				assert.NotSame(t, b, resp.Body)
				assert.NoError(t, iotest.TestReader(resp.Body, []byte(content)))
				assert.NoError(t, resp.Body.Close())
			})
		}
	}
}

func TestKeptBodyIsReadInPieces(t *testing.T) {
	resp := chunked(newBody("overload", io.EOF))
	keep(t.Context(), resp)
	piece := make([]byte, 5)
	n, err := resp.Body.Read(piece)
	require.NoError(t, err)
	assert.Equal(t, "overl", string(piece[:n]))
	rest, err := io.ReadAll(iotest.OneByteReader(resp.Body))
	require.NoError(t, err)
	assert.Equal(t, "oad", string(rest))
}

func TestBodyThatSaysItIsTooLargeIsClosedUnread(t *testing.T) {
	for name, discard := range discards() {
		t.Run(name, func(t *testing.T) {
			b := endless()
			resp := chunked(b)
			resp.ContentLength = rt.DrainBytes + 1
			discard(t.Context(), resp)
			assert.Zero(t, b.reads.Load())
			assert.True(t, b.isClosed())
		})
	}
}

func TestKeptBodyThatSaysItIsTooLargeHasNothing(t *testing.T) {
	resp := chunked(endless())
	resp.ContentLength = rt.DrainBytes + 1
	keep(t.Context(), resp)
	rest, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, rt.ErrBodyDropped)
	assert.Empty(t, rest)
}

func TestBodyThatTurnsOutTooLargeIsReadToTheBound(t *testing.T) {
	for name, discard := range discards() {
		t.Run(name, func(t *testing.T) {
			b := endless()
			discard(t.Context(), chunked(b))
			assert.True(t, b.isClosed())
			assert.GreaterOrEqual(t, b.bytes.Load(), int32(rt.DrainBytes))
			assert.LessOrEqual(t, b.bytes.Load(), int32(rt.DrainBytes+1), "one more tells that there is more")
		})
	}
}

func TestKeptBodyThatTurnsOutTooLargeEndsWithAnError(t *testing.T) {
	for name, b := range map[string]*body{
		"endless":       endless(),
		"one too many":  newBody(strings.Repeat("0", rt.DrainBytes+1), io.EOF),
		"stalled there": newBody(strings.Repeat("0", rt.DrainBytes+1), nil),
	} {
		t.Run(name, func(t *testing.T) {
			resp := chunked(b)
			keep(t.Context(), resp)
			rest, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, rt.ErrBodyDropped)
			require.NotErrorIs(t, err, io.EOF)
			assert.GreaterOrEqual(t, len(rest), rt.DrainBytes)
			assert.Empty(t, strings.Trim(string(rest), "0"))
			_, err = resp.Body.Read(make([]byte, 1))
			assert.ErrorIs(t, err, rt.ErrBodyDropped, "it stays so")
		})
	}
}

func TestStalledBodyIsGivenUp(t *testing.T) {
	for name, discard := range discards() {
		bubble(t, name, func(t *testing.T) {
			b, start := newBody("the first of it", nil), time.Now()
			resp := chunked(b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				discard(t.Context(), resp)
			}()
			time.Sleep(rt.DrainTime - 1)
			synctest.Wait()
			assert.False(t, b.isClosed())
			<-done
			assert.Equal(t, rt.DrainTime, time.Since(start))
			assert.True(t, b.isClosed())
		})
	}
}

func TestKeptBodyThatStalledHasWhatCame(t *testing.T) {
	bubble(t, "50ms", func(t *testing.T) {
		resp := chunked(newBody("the first of it", nil))
		keep(t.Context(), resp)
		rest, err := io.ReadAll(resp.Body)
		require.ErrorIs(t, err, rt.ErrBodyDropped)
		assert.Equal(t, "the first of it", string(rest))
	})
}

// The bound is for all of the body, not for each Read.
func TestBodyThatDripsIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		whole bool
		after time.Duration
	}{
		{9 * time.Millisecond, true, 45 * time.Millisecond}, // four bytes and the end
		{11 * time.Millisecond, false, rt.DrainTime},
	} {
		bubble(t, c.pause.String(), func(t *testing.T) {
			b, start := newBody("drip", io.EOF), time.Now()
			b.pause = c.pause
			resp := chunked(b)
			keep(t.Context(), resp)
			assert.Equal(t, c.after, time.Since(start))
			content, err := io.ReadAll(resp.Body)
			assert.Equal(t, "drip", string(content))
			assert.Equal(t, c.whole, err == nil, err)
		})
	}
}

func TestDrainingEndsWithItsCaller(t *testing.T) {
	for name, discard := range discards() {
		bubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			b, start := newBody("", nil), time.Now()
			discard(ctx, chunked(b))
			assert.Equal(t, 10*time.Millisecond, time.Since(start))
			assert.True(t, b.isClosed())
		})
		bubble(t, name+", gone before", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			b, start := newBody("", nil), time.Now()
			discard(ctx, chunked(b))
			assert.Zero(t, time.Since(start))
			assert.True(t, b.isClosed())
		})
	}
}

// What would close the body when time is up must not do so when there is no need.
func TestDrainingLeavesNothingBehind(t *testing.T) {
	for name, discard := range discards() {
		bubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := newBody("small", io.EOF)
			discard(ctx, chunked(b))
			closes := b.closes.Load()
			time.Sleep(time.Hour)
			cancel()
			synctest.Wait()
			assert.Equal(t, closes, b.closes.Load())
			assert.Equal(t, int32(1), closes)
		})
	}
}

func TestBodyThatBreaksIsClosed(t *testing.T) {
	for name, discard := range discards() {
		t.Run(name, func(t *testing.T) {
			b := newBody("the first of it", errReset)
			discard(t.Context(), chunked(b))
			assert.True(t, b.isClosed())
		})
	}
}

func TestKeptBodyThatBrokeDoesNotEndWell(t *testing.T) {
	for name, end := range map[string]error{"reset": errReset, "cut off": io.ErrUnexpectedEOF} {
		t.Run(name, func(t *testing.T) {
			resp := chunked(newBody("the first of it", end))
			keep(t.Context(), resp)
			rest, err := io.ReadAll(resp.Body) // which takes io.EOF for a good end
			require.Error(t, err)
			assert.Equal(t, "the first of it", string(rest))
		})
	}
}

func TestBodyThatPanicsIsClosed(t *testing.T) {
	for name, discard := range discards() {
		t.Run(name, func(t *testing.T) {
			b := &panicking{body: newBody("", nil)}
			assert.NotPanics(t, func() { discard(t.Context(), chunked(b)) }, "nobody wants it any more")
			assert.True(t, b.isClosed())
		})
	}
}

type panicking struct{ *body }

func (*panicking) Read([]byte) (int, error) { panic(errors.New("decoder")) }

func TestNoBodyIsLeftAlone(t *testing.T) {
	for name, discard := range discards() {
		t.Run(name, func(t *testing.T) {
			assert.NotPanics(t, func() { discard(t.Context(), nil) })
			resp := chunked(nil)
			discard(t.Context(), resp)
			assert.Nil(t, resp.Body)
			resp = chunked(http.NoBody)
			discard(t.Context(), resp)
			assert.Equal(t, http.NoBody, resp.Body)
		})
	}
}

func TestReadable(t *testing.T) {
	assert.False(t, rt.Readable(nil))
	assert.False(t, rt.Readable(chunked(nil)))
	assert.False(t, rt.Readable(chunked(http.NoBody)))
	assert.True(t, rt.Readable(chunked(newBody("", io.EOF))))
}

// A retry around a retry keeps what was kept already.
func TestKeepingTwice(t *testing.T) {
	whole := chunked(newBody("overload", io.EOF))
	cut := chunked(endless())
	for range 2 {
		keep(t.Context(), whole)
		keep(t.Context(), cut)
	}
	content, err := io.ReadAll(whole.Body)
	require.NoError(t, err)
	assert.Equal(t, "overload", string(content))
	content, err = io.ReadAll(cut.Body)
	require.ErrorIs(t, err, rt.ErrBodyDropped)
	assert.GreaterOrEqual(t, len(content), rt.DrainBytes)
}

func TestKeepLeavesTheRestOfTheResponse(t *testing.T) {
	resp := chunked(newBody("overload", io.EOF))
	resp.Header = http.Header{"Retry-After": {"1"}}
	resp.ContentLength = 8
	before := *resp
	keep(t.Context(), resp)
	before.Body = resp.Body
	assert.Equal(t, before, *resp)
}

func TestDiscardTellsTheHooksOnce(t *testing.T) {
	for name, discard := range discards() {
		bubble(t, name, func(t *testing.T) {
			for _, b := range []*body{newBody("", io.EOF), newBody("small", io.EOF), endless(), newBody("", nil)} {
				hook, resp := &told{}, chunked(b)
				rt.OnBodyEnd(resp, nil, hook)
				discard(t.Context(), resp)
				synctest.Wait()
				assert.Len(t, hook.all(), 1)
			}
		})
	}
}
