package backpressure_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

// browned is a Limiter that has looked so many times at a load that calls for brownout.
func browned(t *testing.T, cfg backpressure.Config, looks int) *backpressure.Limiter {
	t.Helper()
	cfg.CPUThreshold, cfg.CPULoad = 2, func() float64 { return 1.5 }
	l := backpressure.MustNew(cfg)
	for range looks {
		time.Sleep(100 * ms)
		admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
	}
	require.InDelta(t, float64(looks)/10, l.Level(), 0.001)
	return l
}

// The server removes the files of a form of the request that it knows, which is not
// the one that a handler further in has parsed.
func TestFilesOfAFormAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l := backpressure.MustNew(fixed(4))
	parsed := make(chan int, 1)
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(os.TempDir(), "multipart-*"))
		assert.NoError(t, err)
		return found
	}
	server := httptest.NewServer(l.Handler(l.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		assert.NoError(t, req.ParseMultipartForm(1))
		parsed <- len(files())
	}))))
	defer server.Close()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	file, err := w.CreateFormFile("file", "large")
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 11<<20)) // more than any form keeps in memory
	require.NoError(t, err)
	require.NoError(t, w.Close())
	resp, err := server.Client().Post(server.URL, w.FormDataContentType(), &form)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 1, <-parsed)
	require.Eventually(t, func() bool { return len(files()) == 0 }, 30*time.Second, 5*time.Millisecond)
}

// A reverse proxy passes on the header of the request that it is given.
func TestClassHeaderOfTheClientGoesNoFurther(t *testing.T) {
	for value, want := range map[string]string{
		"critical": "", "99999": "", "critical,critical": "", "sheddable": "sheddable", "background": "background",
	} {
		t.Run(value, func(t *testing.T) {
			cfg := impatient(4)
			cfg.ClassHeader = "Criticality"
			l := backpressure.MustNew(cfg)
			req := visitor(t, "/")
			req.Header["Criticality"] = strings.Split(value, ",")
			var passedOn []string
			handle(l.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				passedOn = req.Header.Values("Criticality")
			})), req)
			assert.Equal(t, want, strings.Join(passedOn, ","))
			assert.Equal(t, value, strings.Join(req.Header["Criticality"], ","), "the server's request is as it was")
		})
	}
	t.Run("lowered by Class", func(t *testing.T) {
		cfg := impatient(4)
		cfg.ClassHeader = "Criticality"
		cfg.Class = func(*http.Request) backpressure.Class { return backpressure.Sheddable }
		req := visitor(t, "/")
		req.Header.Set("Criticality", "critical")
		handle(backpressure.MustNew(cfg).Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			assert.Equal(t, "sheddable", req.Header.Get("Criticality"))
		})), req)
	})
	t.Run("raised by who is trusted", func(t *testing.T) {
		cfg := impatient(4)
		cfg.ClassHeader, cfg.ClassTrusted = "Criticality", func(*http.Request) bool { return true }
		req := visitor(t, "/")
		req.Header.Set("Criticality", "critical")
		handle(backpressure.MustNew(cfg).Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			assert.Equal(t, "critical", req.Header.Get("Criticality"))
		})), req)
	})
}

// Config.Class says that nil goes by the context: middleware that knows its users can
// say how much they matter.
func TestHandlerGoesByTheClassOfTheContext(t *testing.T) {
	l := backpressure.MustNew(impatient(1))
	handle(l.Handler(ok), visitor(t, "/").WithContext(backpressure.WithClass(t.Context(), backpressure.Critical)))
	assert.Equal(t, [4]uint64{0, 1}, shot(t, l, "").Counts.Admitted)
}

func TestLevelHeader(t *testing.T) {
	cfg := impatient(1)
	cfg.LevelHeader = "Brownout"
	bubble(t, "names the highest of nested Limiters", func(t *testing.T) {
		high, low := browned(t, cfg, 10), browned(t, cfg, 1)
		for _, h := range []http.Handler{high.Handler(low.Handler(ok)), low.Handler(high.Handler(ok))} {
			assert.Equal(t, []string{"1.00"}, handle(h, visitor(t, "/")).Header().Values("Brownout"))
		}
	})
	bubble(t, "is there for who is refused, too", func(t *testing.T) {
		l := browned(t, cfg, 5)
		admitted(t, l, backpressure.Request{})
		rec := handle(l.Handler(ok), visitor(t, "/"))
		assert.Equal(t, 503, rec.Code)
		assert.Equal(t, "0.50", rec.Header().Get("Brownout"))
	})
}

func TestDegradeAnswersARequestTheSameEachTime(t *testing.T) {
	bubble(t, "also without a tenant", func(t *testing.T) {
		further := browned(t, impatient(1), 1)
		l := browned(t, impatient(1), 5)
		without := 0
		for range 400 {
			yes := 0
			handle(l.Handler(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				inner := func(ctx context.Context) error {
					for range 5 {
						if backpressure.Degrade(ctx, "ads") {
							yes++
						}
					}
					return nil
				}
				assert.NoError(t, inner(req.Context()))
				assert.NoError(t, further.Run(req.Context(), "", inner), "and further in")
			})), visitor(t, "/"))
			assert.Contains(t, []int{0, 10}, yes)
			without += yes / 10
		}
		assert.Less(t, without, 300)
		assert.Positive(t, without)
	})
}

// A Goexit of the user's leaves no connection behind.
func TestJudgeThatEndsItsGoroutineLeavesNoBodyOpen(t *testing.T) {
	cfg := impatient(1)
	cfg.Judge = func(*http.Response, error) backpressure.Outcome { runtime.Goexit(); return backpressure.Success }
	l := backpressure.MustNew(cfg)
	var body closable
	var all sync.WaitGroup
	all.Go(func() {
		_, _ = l.Transport(roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := answers(200)(req)
			resp.Body = &body
			return resp, err
		})).RoundTrip(get(t, "http://"+host))
	})
	all.Wait()
	assert.True(t, body.closed)
	atRest(t, l)
}

type closable struct{ closed bool }

func (c *closable) Read([]byte) (int, error) { return 0, io.EOF }

func (c *closable) Close() error {
	c.closed = true
	return nil
}

func TestRefusalsOfAnInnerHandlerAreIgnored(t *testing.T) {
	bubble(t, "by the limit of the outer one", func(t *testing.T) {
		outer := backpressure.MustNew(backpressure.Config{CPUThreshold: backpressure.Off, StartLimit: 8})
		inner, _ := full(t, fixed(1), 1)
		h := outer.Handler(inner.Handler(ok))
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				for range 100 {
					assert.Equal(t, 503, handle(h, visitor(t, "/")).Code)
					time.Sleep(ms)
				}
			})
		}
		all.Wait()
		assert.Equal(t, 8, shot(t, outer, "").Limit)
	})
}

// Nobody waits for a func of the user's that somebody else has called, and it may ask
// the Limiter itself.
func TestCPULoadThatTakesItsTime(t *testing.T) {
	bubble(t, "in virtual time", func(t *testing.T) {
		var l *backpressure.Limiter
		cfg := impatient(10)
		asked := 0
		cfg.CPUThreshold, cfg.CPULoad = 2, func() float64 {
			if asked++; asked == 1 {
				time.Sleep(time.Minute)
				admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
			}
			return 0
		}
		l = backpressure.MustNew(cfg)
		time.Sleep(ms)
		var all sync.WaitGroup
		all.Go(func() { admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore) })
		time.Sleep(10 * ms)
		start := time.Now()
		admitted(t, l, backpressure.Request{}).Done(backpressure.Ignore)
		assert.Zero(t, time.Since(start))
		all.Wait()
	})
}
