package hedge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

// ignoring answers without a look at the context.
func ignoring(req *http.Request) (*http.Response, error) {
	const content = `{"price":1200,"id":77}`
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(content)), ContentLength: int64(len(content)), Request: req,
	}, nil
}

// deriving makes a context of its own from the request's, as net/http does.
func deriving(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	_ = ctx.Done()
	return ignoring(req)
}

// allocations counts those of one GET through an http.Client.
func allocations(t *testing.T, transport http.RoundTripper) float64 {
	t.Helper()
	client := &http.Client{Transport: transport}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://shop.test/prices", nil)
	require.NoError(t, err)
	return testing.AllocsPerRun(200, func() {
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
}

func TestFastPathAllocations(t *testing.T) {
	for name, tt := range map[string]struct {
		base roundTrip
		most float64
	}{
		"base ignores the context": {ignoring, 6},
		"base derives a context":   {deriving, 9},
	} {
		for when, delay := range map[string]time.Duration{"found": 0, "fixed": time.Minute} {
			t.Run(name+", delay "+when, func(t *testing.T) {
				bare := allocations(t, tt.base)
				rt := hedge.MustNew(hedge.Config{Delay: delay, MinDelay: time.Minute}).Transport(tt.base)
				_ = allocations(t, rt) // the warm-up, in which there is no timer
				ours := allocations(t, rt)
				t.Logf("bare %v, ours %v", bare, ours)
				assert.LessOrEqual(t, ours-bare, tt.most)
			})
		}
	}
	t.Run("what is sent once allocates nothing", func(t *testing.T) {
		assert.Zero(t, allocations(t, hedge.MustNew(hedge.Config{MaxAttempts: 1}).Transport(roundTrip(ignoring)))-
			allocations(t, roundTrip(ignoring)))
	})
	t.Run("a function that is called once allocates nothing", func(t *testing.T) {
		h, ctx := hedge.MustNew(hedge.Config{MaxAttempts: 1}), context.Background()
		fn := func(context.Context) (int, error) { return 1, nil }
		assert.Zero(t, testing.AllocsPerRun(200, func() { _, _ = hedge.Do(ctx, h, "db", fn) }))
	})
}

func TestFastPathStartsNoGoroutine(t *testing.T) {
	bubble(t, "and is the caller's own", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		synctest.Wait()
		before := bubbled()
		inside := func() {
			assert.Equal(t, before, bubbled())
			stack := make([]byte, 64<<10)
			assert.Contains(t, string(stack[:runtime.Stack(stack, false)]), "TestFastPathStartsNoGoroutine",
				"this goroutine has the test at its bottom")
		}
		got := call(t, h.Transport(newBase(after(10*ms-1, func(req *http.Request) (*http.Response, error) {
			inside()
			return answers(200)(req)
		}))), get(t))
		assert.Equal(t, 200, got.status)
		require.NoError(t, h.Run(t.Context(), "db", func(context.Context) error {
			inside()
			return nil
		}))
		assert.Equal(t, before, bubbled())
	})
}

// bubbled is how many goroutines the bubble has; those outside of it, which other tests
// have left to end, are of no interest.
func bubbled() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "synctest bubble ")
}

func panicOf(f func()) (value any, panicked bool) {
	defer func() {
		if panicked {
			value = recover()
		}
	}()
	panicked = true
	f()
	panicked = false
	return nil, false
}

func TestFastPathPanicsAreTheCallers(t *testing.T) {
	for name, tt := range map[string]struct {
		legs []script
		took time.Duration
	}{
		"in the primary":                            {[]script{after(5*ms, panics(errBoom))}, 5 * ms},
		"in the primary, while a hedge runs":        {[]script{after(15*ms, panics(errBoom)), hangs}, 15 * ms},
		"in a hedge, while the caller waits":        {[]script{hangs, after(5*ms, panics(errBoom))}, 15 * ms},
		"in the attempt that a failure has started": {[]script{answers(503), after(5*ms, panics(errBoom))}, 5 * ms},
		"in a hedge after which only it was left":   {[]script{after(11*ms, answers(500)), after(5*ms, panics(errBoom))}, 15 * ms},
	} {
		for policy, grace := range map[string]time.Duration{"": 0, ", with a grace": 50 * ms} {
			bubble(t, name+policy, func(t *testing.T) {
				var log diary
				h := hedge.MustNew(fixed(hedge.Config{LoserGrace: grace, Observe: log.observe}))
				b := newBase(tt.legs...)
				start := time.Now()
				value, panicked := panicOf(func() { _, _ = h.Transport(b).RoundTrip(get(t)) })
				assert.True(t, panicked)
				assert.Equal(t, errBoom, value, "the value as it was")
				assert.Equal(t, tt.took, time.Since(start))
				time.Sleep(time.Second)
				synctest.Wait()
				for _, tr := range b.seen() {
					assert.Error(t, tr.ctx.Err(), "attempt %d has ended", tr.attempt)
					if tr.answer() != nil {
						assert.True(t, tr.answer().isClosed())
					}
				}
				assert.NotContains(t, log.kinds(), hedge.Panicked)
			})
		}
	}
	bubble(t, "of a function", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		assert.PanicsWithValue(t, "fn", func() {
			_ = h.Run(t.Context(), "db", func(ctx context.Context) error {
				if hedge.Attempt(ctx) > 1 {
					panic("fn")
				}
				<-ctx.Done()
				return ctx.Err()
			})
		})
	})
}

func TestFastPathLatePanicsAreEvents(t *testing.T) {
	for name, tt := range map[string]struct {
		legs    []script
		attempt int
		winner  int
	}{
		"of the primary": {[]script{onEnd(panics(errBoom)), answers(200)}, 1, 2},
		"of a hedge":     {[]script{after(15*ms, answers(200)), onEnd(panics(errBoom))}, 2, 1},
	} {
		for policy, grace := range map[string]time.Duration{"": 0, ", with a grace": 50 * ms} {
			bubble(t, name+policy, func(t *testing.T) {
				var log diary
				h := hedge.MustNew(fixed(hedge.Config{LoserGrace: grace, Observe: log.observe}))
				b := newBase(tt.legs...)
				got := call(t, h.Transport(b), get(t))
				assert.Equal(t, 200, got.status)
				assert.Equal(t, tt.winner, got.from)
				time.Sleep(grace)
				var told []hedge.Event
				for _, e := range log.events() {
					if e.Kind == hedge.Panicked {
						told = append(told, e)
					}
				}
				require.Len(t, told, 1)
				assert.Equal(t, tt.attempt, told[0].Attempt)
				var late *hedge.PanicError
				require.ErrorAs(t, told[0].Err, &late)
				assert.Equal(t, errBoom, late.Value)
				assert.ErrorIs(t, late, errBoom)
				assert.EqualError(t, late, "hedge: attempt panicked: boom")
				assert.Contains(t, string(late.Stack), "helpers_test.go", "where it came from")
			})
		}
	}
	t.Run("of something that is no error", func(t *testing.T) {
		assert.NoError(t, errors.Unwrap(&hedge.PanicError{Value: "words"}))
	})
}

func exits(*http.Request) (*http.Response, error) {
	runtime.Goexit()
	return nil, nil
}

func TestFastPathGoexitIsTheCallers(t *testing.T) {
	for name, tt := range map[string]struct {
		legs  []script
		exits bool
		took  time.Duration
	}{
		"in the primary":                     {[]script{after(5*ms, exits)}, true, 5 * ms},
		"in the primary, while a hedge runs": {[]script{after(15*ms, exits), hangs}, true, 15 * ms},
		"in a hedge, while the caller waits": {[]script{hangs, after(5*ms, exits)}, true, 15 * ms},
		"in a hedge, too late":               {[]script{after(15*ms, answers(200)), onEnd(exits)}, false, 15 * ms},
		"in the primary, too late":           {[]script{onEnd(exits), answers(200)}, true, 10 * ms},
	} {
		bubble(t, name, func(t *testing.T) {
			h := hedge.MustNew(fixed(hedge.Config{}))
			b := newBase(tt.legs...)
			req := get(t)
			done := make(chan bool)
			start := time.Now()
			go func() {
				returned := false
				defer func() { done <- returned }()
				resp, err := h.Transport(b).RoundTrip(req)
				returned = true
				if err == nil {
					_ = resp.Body.Close()
				}
			}()
			assert.Equal(t, !tt.exits, <-done)
			assert.Equal(t, tt.took, time.Since(start))
			synctest.Wait()
			for _, tr := range b.seen() {
				assert.Error(t, tr.ctx.Err(), "attempt %d has ended", tr.attempt)
				if tr.answer() != nil {
					assert.True(t, tr.answer().isClosed())
				}
			}
		})
	}
}
