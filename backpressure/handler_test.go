package backpressure_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/attempt"
)

// handle is what h answers to a request, in memory.
func handle(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

// visitor is a request to a server.
func visitor(t *testing.T, path string) *http.Request {
	t.Helper()
	return httptest.NewRequest(http.MethodGet, path, http.NoBody).WithContext(t.Context())
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })

var silent = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func TestHandlerRefuses(t *testing.T) {
	bubble(t, "with 503, Retry-After and no-store", func(t *testing.T) {
		l, permits := full(t, impatient(1), 1)
		h := l.Handler(ok)
		rec := handle(h, visitor(t, "/"))
		assert.Equal(t, http.StatusServiceUnavailable, rec.Code)
		assert.Contains(t, []string{"1", "2"}, rec.Header().Get("Retry-After"))
		assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		assert.Equal(t, "overloaded, try again later\n", rec.Body.String())
		permits[0].Done(backpressure.Success)
		assert.Equal(t, http.StatusOK, handle(h, visitor(t, "/")).Code)
		atRest(t, l)
	})
	bubble(t, "in the user's words", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Refused = func(w http.ResponseWriter, _ *http.Request, err error) {
			assert.Equal(t, backpressure.AtLimit, limited(t, err).Refusal)
			http.Redirect(w, visitor(t, "/"), "/static.html", http.StatusFound)
		}
		l, _ := full(t, cfg, 1)
		rec := handle(l.Handler(ok), visitor(t, "/"))
		assert.Equal(t, http.StatusFound, rec.Code)
		assert.NotEmpty(t, rec.Header().Get("Retry-After"))
	})
	bubble(t, "who waited until a deadline of the server's, and has not left", func(t *testing.T) {
		cfg := fixed(1)
		cfg.MaxWait = time.Second
		l, permits := full(t, cfg, 1)
		defer permits[0].Done(backpressure.Ignore)
		ctx, cancel := context.WithTimeout(t.Context(), 300*ms)
		defer cancel()
		start := time.Now()
		rec := handle(l.Handler(ok), visitor(t, "/").WithContext(ctx))
		assert.Equal(t, http.StatusServiceUnavailable, rec.Code, "an empty 200 would be taken for an answer")
		assert.LessOrEqual(t, time.Since(start), 300*ms)
	})
}

func TestPitfallHealthIsNotShed(t *testing.T) {
	vital := []string{"/livez", "/readyz", "/healthz", "/metrics", "/debug/pprof/", "/debug/pprof/heap"}
	bubble(t, "by default", func(t *testing.T) {
		l, _ := full(t, impatient(1), 1)
		h := l.Handler(ok)
		for _, path := range vital {
			assert.Equal(t, http.StatusOK, handle(h, visitor(t, path)).Code, path)
		}
		for _, path := range []string{"/", "/livez/", "/livezz", "/x/metrics", "/debug/pprof", "/debug"} {
			assert.Equal(t, http.StatusServiceUnavailable, handle(h, visitor(t, path)).Code, path)
		}
		assert.Equal(t, uint64(len(vital)), l.Snapshot().Bypassed)
	})
	bubble(t, "by a func", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Bypass = func(req *http.Request) bool { return req.URL.Path == "/vip" }
		l, _ := full(t, cfg, 1)
		h := l.Handler(ok)
		assert.Equal(t, http.StatusOK, handle(h, visitor(t, "/vip")).Code)
		assert.Equal(t, http.StatusServiceUnavailable, handle(h, visitor(t, "/livez")).Code, "the default is replaced")
	})
}

// Whatever the handler does, its place is free again.
func TestHandlerGivesThePlaceBack(t *testing.T) {
	endings := map[string]http.HandlerFunc{
		"returns":            func(http.ResponseWriter, *http.Request) {},
		"answers":            ok,
		"fails":              func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"panics":             func(http.ResponseWriter, *http.Request) { panic("boom") },
		"aborts":             func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"ends its goroutine": func(http.ResponseWriter, *http.Request) { runtime.Goexit() },
		"releases early":     func(w http.ResponseWriter, _ *http.Request) { backpressure.ReleaseEarly(w) },
		"releases twice": func(w http.ResponseWriter, _ *http.Request) {
			backpressure.ReleaseEarly(w)
			backpressure.ReleaseEarly(w)
		},
		"streams": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
		},
		"streams, then panics": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			panic("boom")
		},
	}
	for name, handler := range endings {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			for range 3 {
				var done sync.WaitGroup
				done.Go(func() {
					defer func() { _ = recover() }()
					handle(l.Handler(handler), visitor(t, "/"))
				})
				done.Wait()
				atRest(t, l)
			}
			assert.Equal(t, uint64(3), shot(t, l, "").Counts.Admitted[backpressure.Default])
		})
	}
}

func TestHandlerAsksWhatARequestIs(t *testing.T) {
	t.Run("a class", func(t *testing.T) {
		cfg := impatient(10)
		cfg.Class = func(req *http.Request) backpressure.Class {
			if req.URL.Path == "/ads" {
				return backpressure.Sheddable
			}
			return backpressure.Default
		}
		l := backpressure.MustNew(cfg)
		handle(l.Handler(ok), visitor(t, "/ads"))
		handle(l.Handler(ok), visitor(t, "/"))
		handle(l.Handler(ok), visitor(t, "/").WithContext(attempt.WithBackground(t.Context())))
		counts := shot(t, l, "").Counts
		assert.Equal(t, [4]uint64{1, 0, 1, 1}, counts.Admitted)
	})
	t.Run("a key", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Key = func(req *http.Request) string { return req.URL.Path }
		l := backpressure.MustNew(cfg)
		p := admitted(t, l, backpressure.Request{Key: "/a"})
		defer p.Done(backpressure.Ignore)
		assert.Equal(t, 503, handle(l.Handler(ok), visitor(t, "/a")).Code)
		assert.Equal(t, 200, handle(l.Handler(ok), visitor(t, "/b")).Code)
	})
	for _, field := range []string{"key", "class", "tenant", "stream", "bypass", "trusted"} {
		t.Run("a func that panics: "+field, func(t *testing.T) {
			var events diary
			cfg := impatient(1)
			cfg.Observe, cfg.ClassHeader = events.observe, "Criticality"
			switch field {
			case "key":
				cfg.Key = func(*http.Request) string { panic(field) }
			case "class":
				cfg.Class = func(*http.Request) backpressure.Class { panic(field) }
			case "tenant":
				cfg.Tenant = func(*http.Request) string { panic(field) }
			case "stream":
				cfg.Stream = func(*http.Request) bool { panic(field) }
			case "bypass":
				cfg.Bypass = func(*http.Request) bool { panic(field) }
			case "trusted":
				cfg.ClassTrusted = func(*http.Request) bool { panic(field) }
			}
			l := backpressure.MustNew(cfg)
			req := visitor(t, "/")
			req.Header.Set("Criticality", "critical")
			assert.Equal(t, 200, handle(l.Handler(ok), req).Code)
			assert.Equal(t, [4]uint64{1}, shot(t, l, "").Counts.Admitted, "it is of the default class, under the key \"\"")
			atRest(t, l)
			require.Len(t, events.of(backpressure.Panicked), 1)
			assert.ErrorContains(t, events.of(backpressure.Panicked)[0].Err, field)
		})
	}
	t.Run("a class that does not exist", func(t *testing.T) {
		cfg := impatient(1)
		cfg.Class = func(*http.Request) backpressure.Class { return 200 }
		l := backpressure.MustNew(cfg)
		assert.Equal(t, 200, handle(l.Handler(ok), visitor(t, "/")).Code)
		assert.Equal(t, [4]uint64{1}, shot(t, l, "").Counts.Admitted)
	})
}

func TestClassHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		base    backpressure.Class
		values  []string
		trusted bool
		want    backpressure.Class
	}{
		"none":                    {values: nil, want: backpressure.Default},
		"lowers":                  {values: []string{"sheddable"}, want: backpressure.Sheddable},
		"lowers to the last":      {values: []string{"background"}, want: backpressure.Background},
		"in capitals":             {values: []string{"Sheddable"}, want: backpressure.Sheddable},
		"does not raise":          {values: []string{"critical"}, want: backpressure.Default},
		"does not raise above":    {base: backpressure.Sheddable, values: []string{"default"}, want: backpressure.Sheddable},
		"lowers what is critical": {base: backpressure.Critical, values: []string{"default"}, want: backpressure.Default},
		"raises if trusted":       {values: []string{"critical"}, trusted: true, want: backpressure.Critical},
		"absurd":                  {values: []string{"99999"}, want: backpressure.Default},
		"absurd, trusted":         {values: []string{"99999"}, trusted: true, want: backpressure.Default},
		"negative":                {values: []string{"-1"}, trusted: true, want: backpressure.Default},
		"empty":                   {values: []string{""}, trusted: true, want: backpressure.Default},
		"an unknown name":         {values: []string{"unknown (4)"}, trusted: true, want: backpressure.Default},
		"long":                    {values: []string{strings.Repeat("critical", 1000)}, trusted: true, want: backpressure.Default},
		"two":                     {values: []string{"background", "background"}, want: backpressure.Default},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := impatient(10)
			cfg.ClassHeader = "Criticality"
			cfg.Class = func(*http.Request) backpressure.Class { return tt.base }
			if tt.trusted {
				cfg.ClassTrusted = func(*http.Request) bool { return true }
			}
			l := backpressure.MustNew(cfg)
			req := visitor(t, "/")
			req.Header["Criticality"] = tt.values
			seen := backpressure.Class(100)
			handle(l.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				seen = backpressure.ClassOf(req.Context())
			})), req)
			assert.Equal(t, uint64(1), shot(t, l, "").Counts.Admitted[tt.want])
			assert.Equal(t, tt.want, seen, "the handler's own calls are of this class")
		})
	}
	t.Run("is off by default", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		req := visitor(t, "/")
		req.Header.Set("Criticality", "background")
		handle(l.Handler(ok), req)
		assert.Equal(t, [4]uint64{1}, shot(t, l, "").Counts.Admitted)
	})
}

func TestRetriesAreDemoted(t *testing.T) {
	for name, tt := range map[string]struct {
		class, want backpressure.Class
		number      string
	}{
		"the first":              {backpressure.Default, backpressure.Default, ""},
		"the first, named":       {backpressure.Default, backpressure.Default, "1"},
		"the second":             {backpressure.Default, backpressure.Sheddable, "2"},
		"absurd":                 {backpressure.Default, backpressure.Sheddable, "99999"},
		"malformed":              {backpressure.Default, backpressure.Default, "many"},
		"what is critical":       {backpressure.Critical, backpressure.Default, "2"},
		"what is sheddable":      {backpressure.Sheddable, backpressure.Sheddable, "2"},
		"what nobody waits for":  {backpressure.Background, backpressure.Background, "2"},
		"the second of nonsense": {100, backpressure.Sheddable, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := impatient(10)
			cfg.DemoteRetries = true
			cfg.Class = func(*http.Request) backpressure.Class { return tt.class }
			l := backpressure.MustNew(cfg)
			req := visitor(t, "/")
			req.Header.Set(attempt.RetryHeader, tt.number)
			handle(l.Handler(ok), req)
			assert.Equal(t, uint64(1), shot(t, l, "").Counts.Admitted[tt.want])
		})
	}
	t.Run("not without being told to", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		req := visitor(t, "/")
		req.Header.Set(attempt.RetryHeader, "2")
		handle(l.Handler(ok), req)
		assert.Equal(t, [4]uint64{1}, shot(t, l, "").Counts.Admitted)
	})
}

func TestStreams(t *testing.T) {
	// events is a handler that streams until told to stop.
	events := func(stop <-chan struct{}) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			<-stop
		})
	}
	// open has n requests served, and returns when each has begun.
	open := func(h http.Handler, n int) (codes []*httptest.ResponseRecorder, done *sync.WaitGroup) {
		done = new(sync.WaitGroup)
		for range n {
			rec := httptest.NewRecorder()
			codes = append(codes, rec)
			done.Go(func() { h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/events", http.NoBody)) })
			synctest.Wait()
		}
		return codes, done
	}
	bubble(t, "that turn out to be some leave the limit", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		stop := make(chan struct{})
		_, done := open(l.Handler(events(stop)), 5)
		k := shot(t, l, "")
		assert.Equal(t, 5, k.Streams)
		assert.Equal(t, 0, k.InFlight)
		assert.Equal(t, 200, handle(l.Handler(ok), visitor(t, "/")).Code)
		time.Sleep(time.Hour)
		close(stop)
		done.Wait()
		atRest(t, l)
		assert.Less(t, shot(t, l, "").Latency, time.Second, "what took an hour is not sampled")
	})
	bubble(t, "beyond MaxStreams stay in the limit", func(t *testing.T) {
		cfg := impatient(2)
		cfg.MaxStreams = 2
		l := backpressure.MustNew(cfg)
		stop := make(chan struct{})
		recs, done := open(l.Handler(events(stop)), 5)
		k := shot(t, l, "")
		assert.Equal(t, 2, k.Streams)
		assert.Equal(t, 2, k.InFlight)
		assert.Equal(t, 503, recs[4].Code, "the fifth finds neither")
		time.Sleep(time.Hour)
		close(stop)
		done.Wait()
		atRest(t, l)
		assert.Zero(t, shot(t, l, "").Latency, "what took an hour is not sampled")
	})
	bubble(t, "that are known to be some never take a place of the limit", func(t *testing.T) {
		cfg := impatient(1)
		cfg.MaxStreams = 2
		cfg.Stream = func(req *http.Request) bool { return req.URL.Path == "/events" }
		l := backpressure.MustNew(cfg)
		stop := make(chan struct{})
		p := admitted(t, l, backpressure.Request{})
		recs, done := open(l.Handler(events(stop)), 3)
		assert.Equal(t, 2, shot(t, l, "").Streams)
		assert.Equal(t, 503, recs[2].Code)
		_, err := l.Acquire(t.Context(), backpressure.Request{Stream: true})
		assert.Equal(t, backpressure.TooManyStreams, limited(t, err).Refusal)
		p.Done(backpressure.Success)
		close(stop)
		done.Wait()
		atRest(t, l)
	})
	bubble(t, "are not bounded by Off", func(t *testing.T) {
		cfg := impatient(1)
		cfg.MaxStreams = backpressure.Off
		l := backpressure.MustNew(cfg)
		for range 20_000 {
			admitted(t, l, backpressure.Request{Stream: true})
		}
		assert.Equal(t, 20_000, shot(t, l, "").Streams)
	})
	for name, header := range map[string]http.Header{
		"events":  {"Content-Type": {"text/event-stream; charset=utf-8"}},
		"grpc":    {"Content-Type": {"application/grpc+proto"}},
		"upgrade": {"Upgrade": {"websocket"}},
	} {
		bubble(t, "are told by their answers: "+name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			handle(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), header)
				status := 200
				if name == "upgrade" {
					status = 101
				}
				w.WriteHeader(status)
				assert.Equal(t, 1, shot(t, l, "").Streams)
			})), visitor(t, "/"))
			atRest(t, l)
		})
	}
	bubble(t, "a flush makes none", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		handle(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			assert.NoError(t, http.NewResponseController(w).Flush())
			assert.Equal(t, 0, shot(t, l, "").Streams)
			assert.Equal(t, 1, shot(t, l, "").InFlight)
		})), visitor(t, "/"))
	})
}

func TestWhatTheClientHasLeftIsNotSampled(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		leaves bool
		want   time.Duration
	}{
		"an answer":          {200, false, ms},
		"an empty answer":    {0, false, ms},
		"a client that left": {200, true, 0},
		"a quick failure":    {500, false, 0},
		"a bad request":      {400, false, 0},
		"overload":           {503, false, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			l := backpressure.MustNew(impatient(1))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			handle(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(ms)
				if tt.leaves {
					cancel()
				}
				if tt.status > 0 {
					w.WriteHeader(tt.status)
				}
			})), visitor(t, "/").WithContext(ctx))
			assert.Equal(t, tt.want, shot(t, l, "").Latency)
		})
	}
	bubble(t, "or as Judge says, also of what is answered implicitly", func(t *testing.T) {
		cfg := impatient(1)
		var asked []int
		cfg.Judge = func(resp *http.Response, _ error) backpressure.Outcome {
			asked = append(asked, resp.StatusCode)
			return backpressure.Ignore
		}
		l := backpressure.MustNew(cfg)
		handle(l.Handler(silent), visitor(t, "/"))
		handle(l.Handler(ok), visitor(t, "/"))
		assert.Equal(t, []int{200, 200}, asked)
	})
}

// slowBody is a request body whose client needs a while for each piece.
type slowBody struct {
	pieces int
	each   time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.pieces == 0 {
		return 0, io.EOF
	}
	time.Sleep(b.each)
	b.pieces--
	return copy(p, "piece"), nil
}

func (b *slowBody) Close() error { return nil }

// slowWriter is a client that takes its time with each write.
type slowWriter struct {
	*httptest.ResponseRecorder

	each time.Duration
}

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.each)
	return w.ResponseRecorder.Write(p)
}

func TestTimeOfTheClientsOwnIsNotSampled(t *testing.T) {
	bubble(t, "reading the body", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		req := visitor(t, "/upload")
		req.Body = &slowBody{pieces: 10, each: time.Second}
		handle(l.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			content, err := io.ReadAll(req.Body)
			assert.NoError(t, err)
			assert.Len(t, content, 50)
			time.Sleep(5 * ms)
		})), req)
		assert.Equal(t, 5*ms, shot(t, l, "").Latency)
	})
	bubble(t, "writing a long answer", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		w := slowWriter{httptest.NewRecorder(), time.Second}
		l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * ms)
			for range 10 {
				_, err := w.Write(make([]byte, 4096))
				assert.NoError(t, err)
			}
		})).ServeHTTP(w, visitor(t, "/"))
		assert.Equal(t, 5*ms, shot(t, l, "").Latency)
	})
	bubble(t, "flushing", func(t *testing.T) {
		l := backpressure.MustNew(impatient(1))
		w := slowFlusher{slowWriter{httptest.NewRecorder(), 0}}
		l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * ms)
			assert.NoError(t, http.NewResponseController(w).Flush())
		})).ServeHTTP(w, visitor(t, "/"))
		assert.Equal(t, 5*ms, shot(t, l, "").Latency)
	})
}

type slowFlusher struct{ slowWriter }

func (w slowFlusher) Flush() { time.Sleep(time.Second) }

func TestReleaseEarly(t *testing.T) {
	bubble(t, "of all Limiters that have let the request in", func(t *testing.T) {
		outer, inner := backpressure.MustNew(impatient(1)), backpressure.MustNew(impatient(1))
		handle(outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * ms)
			w.WriteHeader(200)
			backpressure.ReleaseEarly(w)
			time.Sleep(time.Hour)
			atRest(t, outer)
			atRest(t, inner)
		}))), visitor(t, "/"))
		assert.Equal(t, 5*ms, shot(t, outer, "").Latency)
		assert.Equal(t, 5*ms, shot(t, inner, "").Latency)
	})
	t.Run("without a Limiter", func(t *testing.T) {
		assert.NotPanics(t, func() { backpressure.ReleaseEarly(httptest.NewRecorder()) })
	})
}

func TestLevelOfHandler(t *testing.T) {
	// dimmed is a Limiter at full brownout.
	dimmed := func(t *testing.T, cfg backpressure.Config) *backpressure.Limiter {
		t.Helper()
		cfg.CPUThreshold, cfg.CPULoad = 2, func() float64 { return 1.5 }
		l := backpressure.MustNew(cfg)
		for range 20 {
			time.Sleep(100 * ms)
			admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		}
		require.InDelta(t, 1, l.Level(), 0)
		return l
	}
	look := func(level *float64, left *bool) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			*level, *left = backpressure.Level(req.Context()), backpressure.Degrade(req.Context(), "ads")
		})
	}
	bubble(t, "reaches the handler, and the client by a header", func(t *testing.T) {
		var events diary
		cfg := impatient(10)
		cfg.LevelHeader, cfg.Observe = "Brownout", events.observe
		l := dimmed(t, cfg)
		var level float64
		var left bool
		ctx, answer := attempt.WithAnswer(t.Context())
		rec := handle(l.Handler(look(&level, &left)), visitor(t, "/").WithContext(ctx))
		assert.InDelta(t, 1, level, 0)
		assert.True(t, left)
		assert.True(t, answer.Degraded(), "it must not be stored")
		assert.Equal(t, "1.00", rec.Header().Get("Brownout"))
		changes := events.of(backpressure.LevelChanged)
		require.NotEmpty(t, changes)
		assert.InDelta(t, 1, changes[len(changes)-1].Level, 0)
	})
	bubble(t, "is the highest of nested Limiters", func(t *testing.T) {
		calm, busy := backpressure.MustNew(impatient(10)), dimmed(t, impatient(10))
		var level float64
		var left bool
		for _, h := range []http.Handler{
			calm.Handler(busy.Handler(look(&level, &left))), busy.Handler(calm.Handler(look(&level, &left))),
		} {
			level = -1
			handle(h, visitor(t, "/"))
			assert.InDelta(t, 1, level, 0)
		}
	})
	bubble(t, "is nothing where all is well", func(t *testing.T) {
		cfg := impatient(10)
		cfg.LevelHeader = "Brownout"
		l := backpressure.MustNew(cfg)
		level, left := -1.0, true
		ctx, answer := attempt.WithAnswer(t.Context())
		rec := handle(l.Handler(look(&level, &left)), visitor(t, "/").WithContext(ctx))
		assert.Zero(t, level)
		assert.False(t, left)
		assert.False(t, answer.Degraded())
		assert.Empty(t, rec.Header().Values("Brownout"))
		assert.Zero(t, backpressure.Level(t.Context()), "without a Limiter, too")
		assert.False(t, backpressure.Degrade(t.Context(), "ads"))
	})
	bubble(t, "reaches what Do calls", func(t *testing.T) {
		l := dimmed(t, impatient(10))
		require.NoError(t, l.Run(t.Context(), "", func(ctx context.Context) error {
			assert.InDelta(t, 1, backpressure.Level(ctx), 0)
			return nil
		}))
	})
	bubble(t, "is a tenant's own affair", func(t *testing.T) {
		cfg := impatient(1000)
		cfg.Tenant = func(req *http.Request) string { return req.Header.Get("Tenant") }
		load := 1.5
		cfg.CPUThreshold, cfg.CPULoad = 2, func() float64 { return load }
		l := backpressure.MustNew(cfg)
		for range 5 {
			time.Sleep(100 * ms)
			admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		}
		require.InDelta(t, 0.5, l.Level(), 0.01)
		without := 0
		for n := range 200 {
			var answers [3]bool
			for i := range answers {
				req := visitor(t, "/")
				req.Header.Set("Tenant", strconv.Itoa(n))
				var level float64
				handle(l.Handler(look(&level, &answers[i])), req)
			}
			assert.Equal(t, [3]bool{answers[0], answers[0], answers[0]}, answers, "tenant %d: the same each time", n)
			if answers[0] {
				without++
			}
		}
		assert.InDelta(t, 100, without, 40, "half of them go without")
	})
}

// A ServeMux inside of the Limiter sets the pattern that metrics outside of it read.
func TestPatternIsSeenOutside(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{id}", ok)
	l := backpressure.MustNew(impatient(1))
	req := httptest.NewRequest(http.MethodPost, "/orders/7", strings.NewReader("body"))
	handle(l.Handler(mux), req)
	assert.Equal(t, "POST /orders/{id}", req.Pattern)
}
