package backpressure_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

var errLeft = errors.New("the caller has left")

// leaver is a context that has ended for a reason.
func leaver(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errLeft)
	return ctx
}

func TestRequirement1DoorKeepsHalfOfTheDeadline(t *testing.T) {
	waits := func(t *testing.T, deadline, freed time.Duration) (time.Duration, error) {
		t.Helper()
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l, permits := full(t, cfg, 1)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		time.AfterFunc(freed, func() { permits[0].Done(backpressure.Success) })
		start := time.Now()
		p, err := l.Acquire(ctx, backpressure.Request{})
		took := time.Since(start)
		p.Done(backpressure.Ignore)
		time.Sleep(freed)
		atRest(t, l)
		return took, err
	}
	bubble(t, "for something else to be done", func(t *testing.T) {
		took, err := waits(t, 100*ms, 50*ms+1)
		assert.Equal(t, backpressure.WaitedTooLong, limited(t, err).Refusal)
		assert.Equal(t, 50*ms, took)
	})
	bubble(t, "and lets in who has more than that", func(t *testing.T) {
		took, err := waits(t, 100*ms, 50*ms-1)
		require.NoError(t, err)
		assert.Equal(t, 50*ms-1, took)
	})
	bubble(t, "not less, where MaxWait is shorter", func(t *testing.T) {
		took, err := waits(t, time.Hour, time.Minute)
		assert.Equal(t, backpressure.WaitedTooLong, limited(t, err).Refusal)
		assert.Equal(t, time.Second, took)
	})
}

// What was predicted before has turned out wrong: to come back after that would be to
// wait in vain again.
func TestDoorSaysWhenToComeBackAfterAWaitInVain(t *testing.T) {
	bubble(t, "by what is predicted now", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l := backpressure.MustNew(cfg)
		paced(t, l)
		defer admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { _, _ = l.Acquire(t.Context(), backpressure.Request{}) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 1900*ms)
		defer cancel()
		all.Go(func() {
			_, err := l.Acquire(ctx, backpressure.Request{})
			refusal := limited(t, err)
			assert.Equal(t, backpressure.WaitedTooLong, refusal.Refusal)
			assert.Equal(t, 950*ms, refusal.After, "as long as it has waited, which is more than five turns")
		})
		all.Wait()
	})
	bubble(t, "and not after MaxWait, where nobody waits for so long", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Minute
		l, _ := full(t, cfg, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 40*ms)
		defer cancel()
		_, err := l.Acquire(ctx, backpressure.Request{})
		assert.Equal(t, 20*ms, limited(t, err).After)
	})
}

func TestBadInputDoorJudgePanics(t *testing.T) {
	boom := func() backpressure.Outcome { panic("boom") }
	goexit := func() backpressure.Outcome { runtime.Goexit(); return backpressure.Success }
	for name, judge := range map[string]func() backpressure.Outcome{"a panic": boom, "a Goexit": goexit} {
		bubble(t, name, func(t *testing.T) {
			var events diary
			cfg := impatient(1)
			cfg.JudgeError = func(error) backpressure.Outcome { return judge() }
			cfg.Judge = func(*http.Response, error) backpressure.Outcome { return judge() }
			cfg.Observe = events.observe
			l := backpressure.MustNew(cfg)
			for door, call := range map[string]func(){
				"Release": func() { admitted(t, l, backpressure.Request{}).Release(t.Context(), errDown) },
				"Run":     func() { _ = l.Run(t.Context(), "", func(context.Context) error { return nil }) },
				"Handler": func() { handle(l.Handler(ok), visitor(t, "/")) },
				"silent":  func() { handle(l.Handler(silent), visitor(t, "/")) },
				"Transport": func() {
					_, err := exchange(l.Transport(answers(200)), get(t, "http://"+host))
					assert.NoError(t, err, "it has an answer, whatever that tells of load")
				},
			} {
				var all sync.WaitGroup
				all.Go(call)
				all.Wait()
				atRest(t, l)
				for _, k := range l.Snapshot().Keys {
					assert.Zero(t, k.Latency, "%s, %q", door, k.Key)
				}
			}
			if name == "a panic" {
				found := events.of(backpressure.Panicked)
				require.Len(t, found, 5)
				assert.ErrorContains(t, found[0].Err, "boom")
			}
		})
	}
}

func TestPitfallDoorLetsNobodyInWhoHasLeft(t *testing.T) {
	request := backpressure.Request{}
	doors := map[string]func(context.Context, *backpressure.Limiter) error{
		"Acquire": func(ctx context.Context, l *backpressure.Limiter) error {
			_, err := l.Acquire(ctx, request)
			return err
		},
		"TryAcquire": func(ctx context.Context, l *backpressure.Limiter) error {
			_, err := l.TryAcquire(ctx, request)
			return err
		},
		"Await": func(ctx context.Context, l *backpressure.Limiter) error {
			_, err := l.Await(ctx, request)
			return err
		},
		"a stream": func(ctx context.Context, l *backpressure.Limiter) error {
			_, err := l.Acquire(ctx, backpressure.Request{Stream: true})
			return err
		},
		"Run": func(ctx context.Context, l *backpressure.Limiter) error {
			return l.Run(ctx, "", func(context.Context) error { t.Error("it was called"); return nil })
		},
		"Transport": func(ctx context.Context, l *backpressure.Limiter) error {
			_, err := exchange(l.Transport(roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("it was sent")
				return nil, errDown
			})), get(t, "http://"+host).WithContext(ctx))
			return err
		},
	}
	for name, door := range doors {
		bubble(t, name, func(t *testing.T) {
			hot := backpressure.Config{CPULoad: func() float64 { return 100 }}
			for _, cfg := range []backpressure.Config{fixed(1), impatient(1), hot} {
				l := backpressure.MustNew(cfg)
				heat(l)
				before := shot(t, l, "").Counts
				require.Equal(t, errLeft, door(leaver(t), l))
				assert.Equal(t, before, shot(t, l, "").Counts, "nothing is counted")
				atRest(t, l)
			}
		})
	}
	bubble(t, "nor tells of a refusal who left Await at a gate", func(t *testing.T) {
		looked := func() {}
		l := backpressure.MustNew(backpressure.Config{CPULoad: func() float64 { looked(); return 100 }})
		heat(l)
		refusals := 0
		for range 100 {
			ctx, cancel := context.WithCancelCause(t.Context())
			looked = func() { cancel(errLeft) } // in the middle of it
			time.Sleep(ms)
			p, err := l.Await(ctx, backpressure.Request{})
			if err != nil {
				refusals++
				require.Equal(t, errLeft, err)
			}
			p.Done(backpressure.Ignore)
		}
		assert.Positive(t, refusals)
	})
}

// A consumer has its place while it waits for something to do.
func TestRequirement6WaitForAMessageIsNoLatency(t *testing.T) {
	bubble(t, "once it says when the work begins", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		p := admitted(t, l, backpressure.Request{})
		time.Sleep(time.Minute)
		p.Begin()
		time.Sleep(7 * ms)
		p.Done(backpressure.Success)
		assert.Equal(t, 7*ms, shot(t, l, "").Latency)
		p.Begin() // too late, like that of no permit
		backpressure.Permit{}.Begin()

		next := admitted(t, l, backpressure.Request{})
		time.Sleep(7 * ms)
		p.Begin() // of another call in the same slot
		next.Done(backpressure.Success)
		assert.Equal(t, 7*ms, shot(t, l, "").Latency)
	})
	// Six consumers with a message each three seconds. Without Begin their latency would
	// be what the queue makes it, and mean nothing.
	bubble(t, "and the limit goes by the work", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 6})
		ctx, cancel := context.WithCancel(t.Context())
		queue := make(chan time.Duration)
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				for {
					p, err := l.Await(ctx, backpressure.Request{})
					if err != nil {
						return
					}
					work, open := <-queue
					if !open {
						p.Done(backpressure.Ignore)
						return
					}
					p.Begin()
					time.Sleep(work)
					p.Done(backpressure.Success)
				}
			})
		}
		for n := range 3000 {
			queue <- 10 * ms
			time.Sleep(time.Duration(n%200) * ms) // the queue has its moods
		}
		cancel()
		close(queue)
		all.Wait()
		assert.InDelta(t, 10*ms, shot(t, l, "").Latency, float64(2*ms))
		assert.GreaterOrEqual(t, shot(t, l, "").Limit, 6, "nothing was slow")
	})
}

func TestRequirement1BypassBySpelling(t *testing.T) {
	l, _ := full(t, impatient(1), 1)
	for _, path := range []string{
		"/shop/../healthz", "//healthz", "/./healthz", "/healthz/.", "/%2fhealthz", "/shop%2f..%2fhealthz", "/health%7a",
		"/debug/pprof/../../expensive", "/debug/pprof/..%2f..%2fexpensive", "/debug/pprof/%2e%2e/%2e%2e/expensive",
		"/debug/pprof//heap", "/debug/pprof/./heap", "/debug/pprof/heap/..", "/debug/pprof/..", "/debug/pprof/a%2fb",
		"//debug/pprof/heap",
	} {
		req := visitor(t, "/")
		u, err := url.ParseRequestURI(path)
		require.NoError(t, err)
		req.URL = u
		assert.Equal(t, http.StatusServiceUnavailable, handle(l.Handler(ok), req).Code, path)
	}
	assert.Zero(t, l.Snapshot().Bypassed)
}

// A caller who reads slowly makes no server look slow, but it has its place for as long.
func TestPitfallSlowReaderOfATransport(t *testing.T) {
	bubble(t, "is no latency", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		slow := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(5 * ms)
			return answers(200)(req)
		})
		resp, err := l.Transport(slow).RoundTrip(get(t, "http://"+host))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, 1, shot(t, l, host).InFlight)
		_, _ = io.Copy(io.Discard, resp.Body)
		atRest(t, l)
		assert.Equal(t, 5*ms, shot(t, l, host).Latency)
	})
}

// http.Client.Timeout of older programs, and others, end a request by its channel.
func TestDoorOfTransportWatchesCancel(t *testing.T) {
	cfg := fixed(1)
	cfg.MaxWait, cfg.Key = time.Minute, func(*http.Request) string { return "" }
	send := func(t *testing.T, l *backpressure.Limiter, cancel chan struct{}) error {
		t.Helper()
		req := get(t, "http://"+host)
		req.Cancel = cancel //nolint:staticcheck // deprecated, and heeded by net/http
		_, err := exchange(l.Transport(answers(200)), req)
		return err
	}
	bubble(t, "while it waits", func(t *testing.T) {
		l, permits := full(t, cfg, 1)
		cancel := make(chan struct{})
		time.AfterFunc(10*ms, func() { close(cancel) })
		start := time.Now()
		err := send(t, l, cancel)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, backpressure.ErrLimited)
		assert.Equal(t, 10*ms, time.Since(start))
		permits[0].Done(backpressure.Success)
		atRest(t, l)
	})
	bubble(t, "and before", func(t *testing.T) {
		l := backpressure.MustNew(cfg)
		cancel := make(chan struct{})
		require.NoError(t, send(t, l, cancel))
		close(cancel)
		require.ErrorIs(t, send(t, l, cancel), context.Canceled)
		assert.Equal(t, uint64(1), shot(t, l, "").Counts.Admitted[backpressure.Default])
		atRest(t, l)
	})
}

// A func that is asked for the load may be wrong about it, and must not be what brings
// the service down.
func TestBadInputCPULoadPanics(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var told []backpressure.Event
		l := backpressure.MustNew(backpressure.Config{
			CPULoad: func() float64 { panic("no such file") },
			Observe: func(_ context.Context, e backpressure.Event) { told = append(told, e) },
		})
		for range 3 {
			time.Sleep(time.Second)
			p, err := l.Acquire(t.Context(), backpressure.Request{})
			require.NoError(t, err)
			p.Done(backpressure.Success)
		}
		assert.Zero(t, l.Snapshot().CPULoad)
		require.NotEmpty(t, told)
		for _, e := range told {
			assert.Equal(t, backpressure.Panicked, e.Kind)
			assert.ErrorContains(t, e.Err, "no such file")
		}
	})
}

// A place is taken until the end of the body, and how long that is, and not how soon the
// headers come, says how long the next one waits for it.
func TestRequirement1WaitIsPredictedByTheBody(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		l := backpressure.MustNew(backpressure.Config{
			Limit: backpressure.Fixed(1), MaxWait: 50 * time.Millisecond, CPUThreshold: backpressure.Off,
		})
		transport := l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{}, Request: req, Body: io.NopCloser(strings.NewReader("long")),
			}, nil
		}))
		send := func() (*http.Response, error) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test/", nil)
			require.NoError(t, err)
			return transport.RoundTrip(req)
		}
		for range 3 {
			resp, err := send()
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.NoError(t, resp.Body.Close())
		}
		resp, err := send()
		require.NoError(t, err)
		start := time.Now()
		_, err = send()
		limited, ok := errors.AsType[*backpressure.LimitedError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, backpressure.AtLimit, limited.Refusal)
		assert.Zero(t, time.Since(start), "it is refused at once")
		require.NoError(t, resp.Body.Close())
	})
}
