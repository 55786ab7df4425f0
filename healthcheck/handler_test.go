package healthcheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// acceptText is what a client sends that wants text.
func acceptText() []string { return []string{"Accept", "text/plain"} }

func TestEndpointSpeaksTheDraft(t *testing.T) {
	bubble(t, "with all there is", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Service: "shop", Version: "1.2.3", Authorize: everybody},
			map[string]healthcheck.Check{
				"db": {
					Probe: func(context.Context) healthcheck.Result {
						return healthcheck.Result{Observed: 12.5, Unit: "ms"}
					},
					Affects:   []string{"GET /orders/{id}", "/files/{path...}", "POST /{$}"},
					Component: "datastore", Period: time.Minute,
				},
				"mail:latency": {Probe: failing},
				"fed":          {},
			})
		w := ask(t, c.Handler(healthcheck.Ready), "/readyz")
		page := judge(t, w)
		assert.Equal(t, "warn", page.Status, "what degrades has failed")
		assert.Equal(t, "shop", page.ServiceID)
		assert.Equal(t, "1.2.3", page.ReleaseID)
		assert.Empty(t, page.Output)
		assert.Empty(t, page.Notes, "there is nothing to note")
		require.Len(t, page.Checks, 3)
		db := page.Checks["db"][0]
		assert.Equal(t, "pass", db.Status)
		assert.Equal(t, "datastore", db.ComponentType)
		assert.JSONEq(t, "12.5", string(db.ObservedValue))
		assert.Equal(t, "ms", db.ObservedUnit)
		assert.Equal(t, []string{"/orders/{id}", "/files/{+path}", "/"}, db.AffectedEndpoints)
		assert.Equal(t, time.Now().UTC().Format(time.RFC3339), db.Time)
		assert.Equal(t, "fail", page.Checks["mail:latency"][0].Status)
		assert.Equal(t, "warn", page.Checks["fed"][0].Status, "what is unknown does not pass")
		assert.Contains(t, page.Checks["fed"][0].Output, "no result yet", "and says that it is no warning")
		assert.Empty(t, page.Checks["fed"][0].Time, "and has no reading")
	})
	bubble(t, "an unknown group fails, and what is unknown in it says so", func(t *testing.T) {
		f := &fake{takes: 5 * time.Second}
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			name: {Probe: f.probe, Impact: healthcheck.Critical, Timeout: 9 * time.Second},
		})
		w := ask(t, c.Handler(healthcheck.Ready), "/readyz")
		page := judge(t, w)
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "fail", page.Status)
		assert.Equal(t, "warn", page.Checks[name][0].Status)
		assert.Contains(t, page.Checks[name][0].Output, "no result yet")
		text := ask(t, c.Handler(healthcheck.Ready), "/readyz", acceptText()...)
		assert.Equal(t, "unknown\n"+name+" unknown: no result yet, or none that is recent\n", text.Body.String(),
			"text has a word for it")
	})
	bubble(t, "a result that is too old is none", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {}})
		require.NoError(t, c.Feed(name, nil))
		assert.Equal(t, "pass", judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz")).Checks[name][0].Status)
		time.Sleep(31 * time.Second)
		check := judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz")).Checks[name][0]
		assert.Equal(t, "warn", check.Status)
		assert.Contains(t, check.Output, "none that is recent")
		assert.Empty(t, check.Time)
	})
	bubble(t, "in every status", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			name: {Impact: healthcheck.Critical},
		})
		for _, s := range []healthcheck.Status{healthcheck.Fail, healthcheck.Warn, healthcheck.Pass} {
			require.NoError(t, c.Report(name, healthcheck.Result{Status: s, Public: "a word"}))
			page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz"))
			assert.Equal(t, s.String(), page.Status)
			assert.Equal(t, s.String(), page.Checks[name][0].Status)
		}
	})
	bubble(t, "a value of zero is a value", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {}})
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: 0, Unit: "s"}))
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz"))
		assert.JSONEq(t, "0", string(page.Checks[name][0].ObservedValue))
	})
	bubble(t, "before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{Authorize: everybody})
		c.MustAdd(name, healthcheck.Check{Probe: passing})
		assert.Equal(t, "fail", judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz")).Status)
		assert.Equal(t, "pass", judge(t, ask(t, c.Handler(healthcheck.Live), "/livez")).Status)
	})
	bubble(t, "while a hand holds a check up", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: failing}})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Pass, Reason: "known"}))
		judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz"))
	})
	bubble(t, "while a hand holds a group up", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: failing}})
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Pass, Reason: "known"}))
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz"))
		assert.Equal(t, "pass", page.Status)
		assert.Equal(t, []string{"set to pass by hand: known"}, page.Notes)
		assert.Equal(t, "fail", page.Checks[name][0].Status, "the checks are as they are")
		assert.Empty(t, judge(t, ask(t, c.Handler(healthcheck.Live), "/livez")).Notes, "nobody has set that")
	})
	bubble(t, "while a hand that gives no reason holds it", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: passing}})
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Warn}))
		assert.Equal(t, []string{"set to warn by hand"}, judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz")).Notes)
	})
	bubble(t, "while it drains", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: passing}})
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Pass, Reason: "known"}))
		ask(t, c.Handler(healthcheck.Ready), "/readyz")
		c.Drain()
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/readyz"))
		assert.Equal(t, "fail", page.Status, "draining wins")
		assert.Equal(t, []string{"draining", "set to pass by hand: known"}, page.Notes, "and both are told")
		assert.Equal(t, "pass", page.Checks[name][0].Status)
		assert.Equal(t, "pass", judge(t, ask(t, c.Handler(healthcheck.Live), "/livez")).Status)
		text := ask(t, c.Handler(healthcheck.Ready), "/readyz", acceptText()...)
		assert.Equal(t, "fail, draining, set to pass by hand: known\n"+name+" pass\n", text.Body.String())
	})
}

func TestEndpointAsText(t *testing.T) {
	bubble(t, "for people", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			"disk": {Impact: healthcheck.Informational, Groups: []string{healthcheck.Live}},
			"db":   {Impact: healthcheck.Critical},
		})
		require.NoError(t, c.Report("db", healthcheck.Result{Status: healthcheck.Fail, Public: "two\nlines"}))
		require.NoError(t, c.Report("disk", healthcheck.Result{Observed: 7, Unit: "%"}))
		w := ask(t, c.Details(), "/healthz", acceptText()...)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		assert.Equal(t, "fail\ndb fail: two lines\ndisk pass 7%\n", w.Body.String())
	})
	bubble(t, "one line per check, whatever it says", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {}})
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: "1\nforged pass", Unit: "\nx", Public: "a\r\nb"}))
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{
			Status: healthcheck.Warn, Reason: "because\nforged pass",
		}))
		w := ask(t, c.Handler(healthcheck.Ready), "/readyz", acceptText()...)
		assert.Equal(t, 2, strings.Count(w.Body.String(), "\n"), w.Body)
	})
	bubble(t, "what is asked for", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, nil)
		for accept, want := range map[string]string{
			"":                                   "application/health+json",
			"*/*":                                "application/health+json",
			"text/html,*/*":                      "application/health+json",
			"text/plain":                         "text/plain; charset=utf-8",
			"text/plain;q=0.9, */*;q=0.1":        "text/plain; charset=utf-8",
			"application/health+json":            "application/health+json",
			"application/health+json,text/plain": "application/health+json",
		} {
			var header []string
			if accept != "" {
				header = []string{"Accept", accept}
			}
			w := ask(t, c.Handler(healthcheck.Ready), "/readyz", header...)
			assert.Equal(t, want, w.Header().Get("Content-Type"), "Accept: %s", accept)
		}
	})
}

func TestEndpointMethods(t *testing.T) {
	bubble(t, "GET and HEAD", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: passing}})
		ready := c.Handler(healthcheck.Ready)
		for method, want := range map[string]int{
			http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodPut: 405,
			http.MethodDelete: 405, http.MethodOptions: 405, http.MethodPatch: 405,
		} {
			w := httptest.NewRecorder()
			ready.ServeHTTP(w, httptest.NewRequest(method, "/readyz", http.NoBody))
			assert.Equal(t, want, w.Code, method)
			switch {
			case want == 405:
				assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"), method)
			case method == http.MethodHead:
				assert.Empty(t, w.Body.String())
				assert.Equal(t, strconv.Itoa(ask(t, ready, "/readyz").Body.Len()), w.Header().Get("Content-Length"))
				fallthrough
			default:
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), method)
				assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"), method)
			}
		}
	})
	bubble(t, "HEAD tells a failure", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
			name: {Probe: failing, Impact: healthcheck.Critical},
		})
		w := httptest.NewRecorder()
		c.Handler(healthcheck.Ready).ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/readyz", http.NoBody))
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Empty(t, w.Body.String())
	})
	bubble(t, "of a group that there is not", func(t *testing.T) {
		c := begin(t, healthcheck.Config{}, nil)
		assert.Equal(t, 404, ask(t, c.Handler("nope"), "/nope").Code)
	})
}

// The answer to who is not authorized says pass, warn or fail, and no more.
func TestAnonymousCallersGetTheStatusOnly(t *testing.T) {
	secrets := []string{"db-7", "password", "shop", "9.9.9", "hunter", name, "because", "/orders"}
	for title, authorize := range map[string]func(*http.Request) bool{
		"nobody is authorized":   nil,
		"this one is not":        func(*http.Request) bool { return false },
		"another one was before": func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
	} {
		bubble(t, title, func(t *testing.T) {
			c := begin(t, healthcheck.Config{
				Service: "shop", Version: "9.9.9", Authorize: authorize, ShowErrors: true,
			}, map[string]healthcheck.Check{name: {
				Probe: func(context.Context) healthcheck.Result {
					return healthcheck.Result{Err: errDown, Public: "password expired", Observed: "hunter", Unit: "hunter2"}
				},
				Affects: []string{"/orders"}, Impact: healthcheck.Critical, Groups: []string{healthcheck.Ready, healthcheck.Live},
			}})
			anonymous := func(override bool) {
				for _, h := range []http.Handler{
					c.Handler(healthcheck.Ready), c.Handler(healthcheck.Live), c.Handler(healthcheck.Startup), c.Details(),
				} {
					ask(t, h, "/", "Authorization", "Bearer hunter2") // and its page is not for the next
					w := ask(t, h, "/?full=1&verbose&exclude="+name, "Cache-Control", "no-cache", "Pragma", "no-cache")
					assert.Regexp(t, `^\{"status":"(pass|warn|fail)"\}\n$`, w.Body.String())
					text := ask(t, h, "/", acceptText()...)
					assert.Regexp(t, `^(pass|warn|fail|unknown)\n$`, text.Body.String())
					for _, secret := range secrets {
						assert.NotContains(t, fmt.Sprint(w.Header(), w.Body, text.Header(), text.Body), secret, "override %t", override)
					}
				}
			}
			anonymous(false)
			require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Warn, Reason: "because"}))
			require.NoError(t, c.Override(healthcheck.Live, healthcheck.Override{Status: healthcheck.Fail, Reason: "because"}))
			anonymous(true)
		})
	}
}

type panickingError struct{}

func (panickingError) Error() string { panic("no text") }

func TestWhatTheAuthorizedSee(t *testing.T) {
	const withheld = "the error is withheld"
	var nothing *panickingError
	for title, row := range map[string]struct {
		res        healthcheck.Result
		showErrors bool
		want       string
	}{
		"an error is withheld":         {healthcheck.Result{Err: errDown}, false, withheld},
		"and shown if asked for":       {healthcheck.Result{Err: errDown}, true, errDown.Error()},
		"before the public text":       {healthcheck.Result{Err: errDown, Public: "lag 12s"}, true, errDown.Error()},
		"which is for want of another": {healthcheck.Result{Status: healthcheck.Fail, Public: "lag 12s"}, true, "lag 12s"},
		"the public text":              {healthcheck.Result{Err: errDown, Public: "lag 12s"}, false, "lag 12s"},
		"the public text of a warning": {healthcheck.Result{Status: healthcheck.Warn, Public: "lag 3s"}, false, "lag 3s"},
		"a failure without words":      {healthcheck.Result{Status: healthcheck.Fail}, true, ""},
		"an error that panics":         {healthcheck.Result{Err: panickingError{}}, true, "an error whose Error method panics"},
		"an error that is nil inside":  {healthcheck.Result{Err: nothing}, true, "an error whose Error method panics"},
		"no words while it passes":     {healthcheck.Result{Public: "all is well"}, true, ""},
	} {
		bubble(t, title, func(t *testing.T) {
			c := begin(t, healthcheck.Config{Authorize: everybody, ShowErrors: row.showErrors},
				map[string]healthcheck.Check{name: {}})
			require.NoError(t, c.Report(name, row.res))
			w := ask(t, c.Handler(healthcheck.Ready), "/readyz")
			assert.Equal(t, row.want, judge(t, w).Checks[name][0].Output)
			if !row.showErrors {
				assert.NotContains(t, w.Body.String(), "db-7")
			}
		})
	}
	bubble(t, "Authorize is asked for each request, and gets it", func(t *testing.T) {
		c := begin(t, healthcheck.Config{
			Authorize: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer ops" },
		}, map[string]healthcheck.Check{name: {Probe: passing}})
		h := c.Handler(healthcheck.Ready)
		for range 3 {
			assert.Contains(t, ask(t, h, "/", "Authorization", "Bearer ops").Body.String(), name)
			assert.NotContains(t, ask(t, h, "/", "Authorization", "Bearer you").Body.String(), name)
		}
	})
	bubble(t, "Details has the checks of all groups, and the code of all", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			"a": {Probe: passing, Groups: []string{healthcheck.Live}},
			"b": {Probe: passing, Groups: []string{"own"}},
			"c": {Probe: failing, Groups: []string{healthcheck.Startup}, Impact: healthcheck.Critical},
		})
		w := ask(t, c.Details(), "/healthz")
		page := judge(t, w)
		assert.Len(t, page.Checks, 3)
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, 200, ask(t, c.Handler("own"), "/").Code)
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
	})
}

// counted is an error that knows how often it was rendered: Error is all that the
// rendering calls of its users, and only with Config.ShowErrors.
type counted struct{ times *atomic.Int64 }

func (e counted) Error() string { return fmt.Sprint("rendered ", e.times.Add(1), " times") }

// warning is a result that is shown with an error.
func warning(err error) healthcheck.Result {
	return healthcheck.Result{Status: healthcheck.Warn, Err: err}
}

// observed is a value whose code must not be run.
type observed struct{ t *testing.T }

func (v observed) MarshalJSON() ([]byte, error) { v.t.Error("MarshalJSON is called"); return nil, nil }

func (v observed) MarshalText() ([]byte, error) { v.t.Error("MarshalText is called"); return nil, nil }
func (v observed) String() string               { v.t.Error("String is called"); return "" }
func (v observed) Error() string                { v.t.Error("Error is called"); return "" }
func (v observed) Format(fmt.State, rune)       { v.t.Error("Format is called") }

func TestValuesBringNoCodeIntoTheRendering(t *testing.T) {
	bubble(t, "their type is shown", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody, ShowErrors: true}, map[string]healthcheck.Check{name: {}})
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: observed{t}}))
		page := judge(t, ask(t, c.Details(), "/"))
		assert.JSONEq(t, `"a healthcheck_test.observed"`, string(page.Checks[name][0].ObservedValue))
		text := ask(t, c.Details(), "/", acceptText()...)
		assert.Equal(t, "pass\n"+name+" pass a healthcheck_test.observed\n", text.Body.String())
	})
}

func TestValuesAreRenderedOnceASecond(t *testing.T) {
	show := healthcheck.Config{Authorize: everybody, ShowErrors: true}
	bubble(t, "however often they change and are asked for", func(t *testing.T) {
		c := begin(t, show, map[string]healthcheck.Check{name: {}})
		h := c.Handler(healthcheck.Ready)
		var times atomic.Int64
		for range 1000 { // ten seconds
			require.NoError(t, c.Report(name, warning(counted{&times})))
			ask(t, h, "/")
			time.Sleep(10 * time.Millisecond)
		}
		assert.EqualValues(t, 10, times.Load())
	})
	bubble(t, "and shown after a second at the latest", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {}})
		h := c.Handler(healthcheck.Ready)
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: "old"}))
		assert.Contains(t, ask(t, h, "/").Body.String(), "old")
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: "new"}))
		time.Sleep(time.Second - time.Nanosecond)
		assert.Contains(t, ask(t, h, "/").Body.String(), "old")
		time.Sleep(time.Nanosecond)
		assert.Contains(t, ask(t, h, "/").Body.String(), "new")
	})
	bubble(t, "nothing is rendered while nothing changes", func(t *testing.T) {
		c := begin(t, show, map[string]healthcheck.Check{name: {Period: time.Hour}})
		var times atomic.Int64
		require.NoError(t, c.Report(name, warning(counted{&times})))
		for range 100 {
			ask(t, c.Handler(healthcheck.Ready), "/")
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 1, times.Load())
	})
	bubble(t, "a change of status is shown at once, with its code", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
			name: {Impact: healthcheck.Critical},
		})
		h := c.Handler(healthcheck.Ready)
		for i := range 10 {
			want := healthcheck.Pass
			if i%2 == 1 {
				want = healthcheck.Fail
			}
			require.NoError(t, c.Report(name, healthcheck.Result{Status: want, Observed: i}))
			w := ask(t, h, "/")
			page := judge(t, w)
			assert.Equal(t, want.String(), page.Status)
			assert.Equal(t, want.String(), page.Checks[name][0].Status)
			assert.JSONEq(t, fmt.Sprint(i), string(page.Checks[name][0].ObservedValue))
			text := ask(t, h, "/", acceptText()...)
			assert.Equal(t, w.Code, text.Code)
			assert.True(t, strings.HasPrefix(text.Body.String(), want.String()+"\n"), text.Body)
		}
	})
}

// gated is an error that takes its time to be rendered.
type gated struct{ open chan struct{} }

func (e gated) Error() string {
	<-e.open
	return "gated"
}

// asking is an error that asks how things are: no lock may be held when it does.
type asking struct{ c *healthcheck.Checker }

func (e asking) Error() string {
	return fmt.Sprintf("%v of %d", e.c.Status(healthcheck.Ready), len(e.c.Snapshot().Checks))
}

func TestOneRendersForAll(t *testing.T) {
	show := healthcheck.Config{Authorize: everybody, ShowErrors: true}
	critical := map[string]healthcheck.Check{name: {Impact: healthcheck.Critical}}
	bubble(t, "others get the previous bytes with the new code", func(t *testing.T) {
		c := begin(t, show, critical)
		h := c.Handler(healthcheck.Ready)
		require.NoError(t, c.Report(name, healthcheck.Result{Observed: "old"}))
		before := ask(t, h, "/").Body.String()

		open := make(chan struct{})
		require.NoError(t, c.Report(name, healthcheck.Result{Err: gated{open}}))
		first := make(chan *httptest.ResponseRecorder, 1)
		go func() { first <- ask(t, h, "/") }()
		synctest.Wait()
		for range 3 {
			w := ask(t, h, "/")
			assert.Equal(t, 503, w.Code)
			assert.Equal(t, before, w.Body.String())
		}
		close(open)
		w := <-first
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "fail", judge(t, w).Status)
		assert.Equal(t, "gated", judge(t, w).Checks[name][0].Output)
		assert.Equal(t, w.Body.String(), ask(t, h, "/").Body.String())
	})
	bubble(t, "the code is new even if that has changed while it is rendered", func(t *testing.T) {
		c := begin(t, show, critical)
		h := c.Handler(healthcheck.Ready)
		require.NoError(t, c.Report(name, healthcheck.Result{}))
		before := ask(t, h, "/").Body.String()
		open := make(chan struct{})
		require.NoError(t, c.Report(name, healthcheck.Result{Err: gated{open}}))
		first := make(chan *httptest.ResponseRecorder, 1)
		go func() { first <- ask(t, h, "/") }()
		synctest.Wait()
		assert.Equal(t, 503, ask(t, h, "/").Code)
		require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Warn}))
		w := ask(t, h, "/")
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, before, w.Body.String())
		close(open)
		<-first
		w = ask(t, h, "/")
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, "warn", judge(t, w).Status, "and the page comes after it")
	})
	bubble(t, "the first of a thousand, before there is a page", func(t *testing.T) {
		var times atomic.Int64
		c := begin(t, show, map[string]healthcheck.Check{name: {
			OnDemand: time.Minute,
			Probe: func(context.Context) healthcheck.Result {
				time.Sleep(50 * time.Millisecond)
				return warning(counted{&times})
			},
		}})
		h := c.Handler(healthcheck.Ready)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { ask(t, h, "/") })
		}
		all.Wait()
		assert.EqualValues(t, 1, times.Load())
	})
	bubble(t, "what it renders may ask in turn", func(t *testing.T) {
		c := begin(t, show, critical)
		require.NoError(t, c.Report(name, healthcheck.Result{Err: asking{c}}))
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/"))
		assert.Equal(t, "fail of 1", page.Checks[name][0].Output)
	})
	bubble(t, "a slow first rendering does not replace a later one", func(t *testing.T) {
		c := begin(t, show, critical)
		h := c.Handler(healthcheck.Ready)
		open := make(chan struct{})
		require.NoError(t, c.Report(name, warning(gated{open})))
		first := make(chan *httptest.ResponseRecorder, 1)
		go func() { first <- ask(t, h, "/") }()
		synctest.Wait() // it renders that the check warns
		require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Fail}))
		second := make(chan *httptest.ResponseRecorder, 1)
		go func() { second <- ask(t, h, "/") }() // there is nothing yet that it could have
		close(open)
		<-first
		<-second
		w := ask(t, h, "/")
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, "fail", judge(t, w).Status)
	})
}

// A balancer that starts asks a thousand times at once.
func TestColdCallersShareOneProbe(t *testing.T) {
	const callers = 1000
	for _, onDemand := range []time.Duration{0, 10 * time.Second} {
		for _, checks := range []int{1, 20} {
			bubble(t, fmt.Sprintf("%d checks, on demand %v", checks, onDemand), func(t *testing.T) {
				c := healthcheck.MustNew(healthcheck.Config{})
				fakes := make([]fake, checks)
				for i := range fakes {
					fakes[i].slow(50 * time.Millisecond)
					c.MustAdd(fmt.Sprint("check-", i), healthcheck.Check{
						Probe: fakes[i].probe, OnDemand: onDemand, Impact: healthcheck.Critical,
					})
				}
				start(t, c)
				begun := time.Now()
				h := c.Handler(healthcheck.Ready)
				var all sync.WaitGroup
				var good, late atomic.Int64
				for range callers {
					all.Go(func() {
						if w := ask(t, h, "/"); w.Code == 200 && w.Body.String() == `{"status":"pass"}`+"\n" {
							good.Add(1)
						}
						if time.Since(begun) > 60*time.Millisecond {
							late.Add(1)
						}
					})
				}
				all.Wait()
				assert.EqualValues(t, callers, good.Load())
				assert.Zero(t, late.Load())
				for i := range fakes {
					assert.Equal(t, 1, fakes[i].count(), "check %d", i)
				}
			})
		}
	}
}

func TestFirstCallersWait(t *testing.T) {
	slow := func() (*fake, healthcheck.Check) {
		f := &fake{takes: time.Minute}
		return f, healthcheck.Check{
			Probe: f.probe, Impact: healthcheck.Critical, Timeout: 2 * time.Minute, Period: time.Hour,
			Groups: []string{healthcheck.Ready, healthcheck.Live},
		}
	}
	bubble(t, "as long as MaxWait", func(t *testing.T) {
		_, check := slow()
		c := begin(t, healthcheck.Config{MaxWait: 5 * time.Second}, map[string]healthcheck.Check{name: check})
		begun := time.Now()
		assert.Equal(t, 503, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Equal(t, 5*time.Second, time.Since(begun))
	})
	bubble(t, "half a second by default, and not a second time", func(t *testing.T) {
		f, check := slow()
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: check})
		begun := time.Now()
		for _, h := range []http.Handler{c.Handler(healthcheck.Ready), c.Handler(healthcheck.Ready), c.Details()} {
			assert.Equal(t, 503, ask(t, h, "/").Code)
			assert.Equal(t, 500*time.Millisecond, time.Since(begun), "the first has waited, and now it is known to be slow")
		}
		time.Sleep(time.Minute)
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Equal(t, 1, f.count())
	})
	bubble(t, "for the slowest of many, once for all of them", func(t *testing.T) {
		checks := make(map[string]healthcheck.Check)
		for i := range 10 {
			_, checks[fmt.Sprint("check-", i)] = slow()
		}
		c := begin(t, healthcheck.Config{MaxWait: 3 * time.Second}, checks)
		begun := time.Now()
		for range 3 {
			assert.Equal(t, 503, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		}
		assert.Equal(t, 3*time.Second, time.Since(begun))
	})
	bubble(t, "until they leave, which the probe does not mind", func(t *testing.T) {
		f, check := slow()
		c := begin(t, healthcheck.Config{MaxWait: time.Minute}, map[string]healthcheck.Check{name: check})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		c.Handler(healthcheck.Ready).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
		assert.Equal(t, 503, w.Code)
		assert.Equal(t, 3*time.Second, time.Since(begun))
		time.Sleep(time.Minute)
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Equal(t, 1, f.count())
	})
	bubble(t, "not for liveness", func(t *testing.T) {
		_, check := slow()
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: check})
		begun := time.Now()
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Live), "/").Code)
		assert.Zero(t, time.Since(begun))
	})
	bubble(t, "until the Checker is closed", func(t *testing.T) {
		_, check := slow()
		c := begin(t, healthcheck.Config{MaxWait: time.Minute}, map[string]healthcheck.Check{name: check})
		begun := time.Now()
		time.AfterFunc(2*time.Second, func() { assert.NoError(t, c.Close(context.Background())) })
		assert.Equal(t, 503, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		assert.Equal(t, 2*time.Second, time.Since(begun))
	})
}

// reusedWriter costs nothing itself.
type reusedWriter struct {
	header http.Header
	code   int
	bytes  int
}

func (w *reusedWriter) Header() http.Header  { return w.header }
func (w *reusedWriter) WriteHeader(code int) { w.code = code }
func (w *reusedWriter) Write(p []byte) (int, error) {
	w.bytes = len(p)
	return len(p), nil
}

func TestEndpointAllocatesNothing(t *testing.T) {
	for _, checks := range []int{1, 1000} {
		for title, header := range map[string][]string{
			"anonymous":       nil,
			"anonymous, text": acceptText(),
			"details":         {"Authorization", "ops"},
			"details as text": {"Authorization", "ops", "Accept", "text/plain"},
		} {
			bubble(t, fmt.Sprintf("%s, %d checks", title, checks), func(t *testing.T) {
				c := healthcheck.MustNew(healthcheck.Config{
					Authorize: func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
				})
				for i := range checks {
					c.MustAdd(fmt.Sprint("check-", i), healthcheck.Check{Probe: passing, Period: 24 * time.Hour})
				}
				start(t, c)
				h := c.Handler(healthcheck.Ready)
				require.Equal(t, 200, ask(t, h, "/", header...).Code)
				synctest.Wait() // for probes that have told, and not yet all of their groups
				require.Equal(t, 200, ask(t, h, "/", header...).Code)
				r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
				for i := 0; i+1 < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := &reusedWriter{header: make(http.Header)}
				assert.Zero(t, testing.AllocsPerRun(200, func() { h.ServeHTTP(w, r) }))
				assert.Equal(t, 200, w.code)
				assert.Equal(t, strings.HasPrefix(title, "details") && checks == 1000, w.bytes > 10_000)
			})
		}
	}
}

// Readers of all kinds, while everything changes, never meet a page that
// contradicts itself.
func TestEndpointUnderFire(t *testing.T) {
	c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{
		name: {Impact: healthcheck.Critical}, "mail": {Probe: passing, Period: 2 * time.Millisecond, Timeout: time.Millisecond},
	})
	over := make(chan struct{})
	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			res := healthcheck.Result{Observed: i}
			if i%3 == 0 {
				res.Err = errors.New("down")
			}
			_ = c.Report(name, res)
			if i%7 == 0 {
				_ = c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Warn, TTL: time.Microsecond})
			}
		}
	})
	for _, accept := range []string{"text/plain", "application/json"} {
		for range 2 {
			readers.Go(func() {
				for range 500 {
					w := ask(t, c.Handler(healthcheck.Ready), "/", "Accept", accept)
					if accept != "text/plain" {
						assert.True(t, json.Valid(w.Body.Bytes()), w.Body)
					}
					assert.Contains(t, []int{200, 503}, w.Code)
				}
			})
		}
	}
	readers.Wait()
	close(over)
	writers.Wait()
	require.NoError(t, c.Lift(healthcheck.Ready))
	require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Fail}))
	w := ask(t, c.Handler(healthcheck.Ready), "/")
	assert.Equal(t, 503, w.Code)
	assert.Equal(t, "fail", judge(t, w).Status)
}
