package healthcheck_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

func TestOverrideWins(t *testing.T) {
	for _, probed := range []healthcheck.Status{healthcheck.Pass, healthcheck.Warn, healthcheck.Fail, healthcheck.Unknown} {
		for _, set := range []healthcheck.Status{healthcheck.Pass, healthcheck.Warn, healthcheck.Fail} {
			bubble(t, "a check that is "+probed.String()+" is "+set.String(), func(t *testing.T) {
				c := single(t, inStatus(probed, healthcheck.Critical))
				ask(t, c.Handler(healthcheck.Ready), "/")
				is(t, c, name, probed)
				require.NoError(t, c.Override(name, healthcheck.Override{Status: set}))
				is(t, c, name, set)
				is(t, c, healthcheck.Ready, set)
				want := 200
				if set == healthcheck.Fail {
					want = 503
				}
				assert.Equal(t, want, ask(t, c.Handler(healthcheck.Ready), "/").Code)
				require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Warn}))
				is(t, c, name, set, "whatever comes in")
				require.NoError(t, c.Lift(name))
				is(t, c, name, healthcheck.Warn, "what came in counts when the hand lets go")
			})
		}
	}
}

func TestOverrideEnds(t *testing.T) {
	const ttl = time.Minute + 3*time.Nanosecond
	for _, scope := range []string{name, healthcheck.Ready} {
		bubble(t, scope, func(t *testing.T) {
			c := single(t, healthcheck.Check{Impact: healthcheck.Critical, Period: time.Hour})
			require.NoError(t, c.Report(name, healthcheck.Result{}))
			h := c.Handler(healthcheck.Ready)
			require.NoError(t, c.Override(scope, healthcheck.Override{Status: healthcheck.Fail, TTL: ttl, Reason: "a try"}))
			assert.Equal(t, 503, ask(t, h, "/").Code)
			assert.Equal(t, map[string]healthcheck.Override{
				scope: {Status: healthcheck.Fail, TTL: ttl, Reason: "a try"},
			}, c.Overrides())

			time.Sleep(ttl - time.Nanosecond)
			is(t, c, scope, healthcheck.Fail)
			is(t, c, healthcheck.Ready, healthcheck.Fail)
			assert.Equal(t, 503, ask(t, h, "/").Code)
			assert.Equal(t, time.Nanosecond, c.Overrides()[scope].TTL)

			time.Sleep(time.Nanosecond)
			is(t, c, scope, healthcheck.Pass)
			is(t, c, healthcheck.Ready, healthcheck.Pass)
			assert.Equal(t, 200, ask(t, h, "/").Code)
			assert.Empty(t, c.Overrides())
			assert.Zero(t, shot(t, c, name).Override)
		})
	}
	bubble(t, "never, without a time", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail}))
		time.Sleep(10_000 * time.Hour)
		is(t, c, name, healthcheck.Fail)
		assert.Zero(t, c.Overrides()[name].TTL)
	})
	bubble(t, "when it is replaced", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, TTL: time.Second}))
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Warn}))
		time.Sleep(time.Minute)
		is(t, c, name, healthcheck.Warn)
	})
	bubble(t, "and watchers hear of it, though nobody asks", func(t *testing.T) {
		for _, scope := range []string{name, healthcheck.Ready} {
			c := single(t, healthcheck.Check{Probe: passing, Impact: healthcheck.Critical})
			ask(t, c.Details(), "/")
			statuses, stop, err := c.Watch(healthcheck.Ready)
			require.NoError(t, err)
			defer stop()
			assert.Equal(t, healthcheck.Pass, <-statuses)
			require.NoError(t, c.Override(scope, healthcheck.Override{Status: healthcheck.Fail, TTL: time.Minute}))
			assert.Equal(t, healthcheck.Fail, <-statuses)
			time.Sleep(2 * time.Minute) // with a dozen probes
			select {
			case s := <-statuses:
				assert.Equal(t, healthcheck.Pass, s, scope)
			default:
				assert.Fail(t, "the watcher still believes in the override", scope)
			}
		}
	})
}

func TestOverrideIsShown(t *testing.T) {
	bubble(t, "of a check", func(t *testing.T) {
		l := &log{}
		c := begin(t, healthcheck.Config{Authorize: everybody, Observe: l.observe},
			map[string]healthcheck.Check{name: {Probe: passing}})
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, Reason: "moving house"}))
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/"))
		assert.Equal(t, "set to fail by hand: moving house", page.Checks[name][0].Output)
		text := ask(t, c.Handler(healthcheck.Ready), "/", acceptText()...)
		assert.Contains(t, text.Body.String(), name+" fail: set to fail by hand: moving house\n")
		assert.Equal(t, "moving house", shot(t, c, name).Override.Reason)
		require.NoError(t, c.Lift(name))
		assert.Equal(t, []healthcheck.Event{
			{Kind: healthcheck.Overridden, Scope: name, Status: healthcheck.Fail, Reason: "moving house"},
			{Kind: healthcheck.Overridden, Scope: name},
		}, l.of(healthcheck.Overridden))
		assert.NotContains(t, ask(t, c.Handler(healthcheck.Ready), "/").Body.String(), "moving")
	})
	bubble(t, "of a group", func(t *testing.T) {
		c := begin(t, healthcheck.Config{Authorize: everybody}, map[string]healthcheck.Check{name: {Probe: passing}})
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Warn, Reason: "moving house"}))
		page := judge(t, ask(t, c.Handler(healthcheck.Ready), "/"))
		assert.Equal(t, "warn", page.Status)
		assert.Equal(t, []string{"set to warn by hand: moving house"}, page.Notes)
		assert.Empty(t, page.Output)
		text := ask(t, c.Handler(healthcheck.Ready), "/", acceptText()...)
		assert.Equal(t, "warn, set to warn by hand: moving house\n"+name+" pass\n", text.Body.String())
		is(t, c, name, healthcheck.Pass, "the checks are as they are")
		is(t, c, healthcheck.Live, healthcheck.Pass, "and other groups")
	})
}

func TestDrainingWinsOverOverrides(t *testing.T) {
	up, down := healthcheck.Override{Status: healthcheck.Pass}, healthcheck.Override{Status: healthcheck.Fail}
	for title, order := range map[string]func(*testing.T, *healthcheck.Checker, string){
		"set before": func(t *testing.T, c *healthcheck.Checker, group string) {
			t.Helper()
			require.NoError(t, c.Override(group, up))
			ask(t, c.Handler(group), "/")
			c.Drain()
		},
		"set after": func(t *testing.T, c *healthcheck.Checker, group string) {
			t.Helper()
			c.Drain()
			ask(t, c.Handler(group), "/")
			require.NoError(t, c.Override(group, up))
		},
	} {
		bubble(t, title, func(t *testing.T) {
			for _, group := range []string{healthcheck.Ready, "own"} {
				c := single(t, inStatus(healthcheck.Pass, healthcheck.Critical))
				order(t, c, group)
				is(t, c, group, healthcheck.Fail)
				assert.Equal(t, 503, ask(t, c.Handler(group), "/").Code)
				assert.Contains(t, c.Overrides(), group, "it is still there, and without effect")
			}
			for _, group := range []string{healthcheck.Live, healthcheck.Startup} {
				c := single(t, inStatus(healthcheck.Fail, healthcheck.Critical))
				ask(t, c.Handler(group), "/")
				order(t, c, group)
				is(t, c, group, healthcheck.Pass, "draining has nothing to do with it")
				require.NoError(t, c.Override(group, down))
				assert.Equal(t, 503, ask(t, c.Handler(group), "/").Code)
			}
			c := single(t, inStatus(healthcheck.Fail, healthcheck.Critical))
			order(t, c, name)
			is(t, c, name, healthcheck.Pass, "nor with a check")
		})
	}
	bubble(t, "and watchers hear nothing else", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		statuses, stop, err := c.Watch(healthcheck.Ready)
		require.NoError(t, err)
		defer stop()
		assert.Equal(t, healthcheck.Pass, <-statuses)
		require.NoError(t, c.Override(healthcheck.Ready, healthcheck.Override{Status: healthcheck.Warn, TTL: time.Minute}))
		assert.Equal(t, healthcheck.Warn, <-statuses)
		c.Drain()
		assert.Equal(t, healthcheck.Fail, <-statuses)
		time.Sleep(2 * time.Minute)
		assert.Empty(t, statuses)
	})
}

func TestOverrideBadInput(t *testing.T) {
	bubble(t, "is an error, and changes nothing", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/")
		require.ErrorIs(t, c.Override("nope", healthcheck.Override{Status: healthcheck.Fail}), healthcheck.ErrUnknownName)
		require.ErrorIs(t, c.Lift("nope"), healthcheck.ErrUnknownName)
		require.ErrorIs(t, c.Override("", healthcheck.Override{Status: healthcheck.Fail}), healthcheck.ErrUnknownName)
		require.ErrorContains(t, c.Override(name, healthcheck.Override{}), "Status")
		require.ErrorContains(t, c.Override(name, healthcheck.Override{Status: 9}), "Status")
		require.ErrorContains(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, TTL: -1}), "TTL")
		is(t, c, name, healthcheck.Pass)
		assert.Empty(t, c.Overrides())
		require.NoError(t, c.Lift(name), "nothing to lift")
	})
	bubble(t, "before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		require.ErrorIs(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail}), healthcheck.ErrNotStarted)
		require.ErrorIs(t, c.Lift(name), healthcheck.ErrNotStarted)
		assert.Empty(t, c.Overrides())
	})
	bubble(t, "a time longer than time itself", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		time.Sleep(time.Hour)
		require.NoError(t, c.Override(name, healthcheck.Override{Status: healthcheck.Fail, TTL: 1<<63 - 1}))
		is(t, c, name, healthcheck.Fail)
	})
}

// post sends a form to the Admin handler.
func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://shop.example/admin", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAdmin(t *testing.T) {
	bubble(t, "sets, lists and lifts", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/") // which waits for the first result
		h := c.Admin(everybody)
		for status, want := range map[string]healthcheck.Status{
			"down": healthcheck.Fail, "warn": healthcheck.Warn, "up": healthcheck.Pass,
		} {
			form := url.Values{"scope": {name}, "status": {status}, "reason": {"a \"try\" <b>"}, "ttl": {"90s"}}
			w := post(h, form.Encode())
			require.Equal(t, 200, w.Code, w.Body)
			is(t, c, name, want)
			list := ask(t, h, "/admin")
			assert.Equal(t, w.Body.String(), list.Body.String())
			assert.Equal(t, "no-store", list.Header().Get("Cache-Control"))
			assert.Equal(t, "application/json", list.Header().Get("Content-Type"))
			var all map[string]map[string]string
			require.NoError(t, json.Unmarshal(list.Body.Bytes(), &all))
			assert.Equal(t, map[string]map[string]string{
				name: {"status": want.String(), "reason": "a \"try\" <b>", "ttl": "1m30s"},
			}, all)
		}
		require.Equal(t, 200, post(h, "scope="+name+"&status=auto").Code)
		is(t, c, name, healthcheck.Pass)
		assert.Equal(t, "{}\n", ask(t, h, "/admin").Body.String())
		require.Equal(t, 200, post(h, "scope=ready&status=down").Code)
		is(t, c, healthcheck.Ready, healthcheck.Fail)
	})
	bubble(t, "is for those who are authorized", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/")
		ops := func(r *http.Request) bool { return r.Header.Get("Authorization") == "ops" }
		for title, h := range map[string]http.Handler{"nobody": c.Admin(nil), "others": c.Admin(ops)} {
			assert.Equal(t, 403, ask(t, h, "/admin").Code, title)
			assert.Equal(t, 403, post(h, "scope=db&status=down").Code, title)
		}
		assert.Equal(t, 403, post(c.Admin(nil), "scope=db&status=down", "Authorization", "ops").Code)
		is(t, c, name, healthcheck.Pass)
		assert.Equal(t, 200, post(c.Admin(ops), "scope=db&status=down", "Authorization", "ops").Code)
	})
	bubble(t, "refuses browsers from other sites", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		ask(t, c.Details(), "/")
		h := c.Admin(everybody)
		assert.Equal(t, 403, post(h, "scope=db&status=down", "Sec-Fetch-Site", "cross-site").Code)
		assert.Equal(t, 403, post(h, "scope=db&status=down", "Sec-Fetch-Site", "same-site").Code)
		assert.Equal(t, 403, post(h, "scope=db&status=down", "Origin", "https://evil.example").Code)
		is(t, c, name, healthcheck.Pass)
		assert.Equal(t, 200, post(h, "scope=db&status=down", "Sec-Fetch-Site", "same-origin").Code)
		assert.Equal(t, 200, post(h, "scope=db&status=auto", "Origin", "https://shop.example").Code)
		assert.Equal(t, 200, ask(t, h, "/admin", "Sec-Fetch-Site", "cross-site").Code, "a GET changes nothing")
	})
	bubble(t, "knows GET, HEAD and POST", func(t *testing.T) {
		h := single(t, healthcheck.Check{}).Admin(everybody)
		for method, want := range map[string]int{"GET": 200, "HEAD": 200, "PUT": 405, "DELETE": 405, "PATCH": 405} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/admin?scope=db&status=down", http.NoBody))
			assert.Equal(t, want, w.Code, method)
			if want == 405 {
				assert.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))
			}
		}
	})
}

func TestAdminBadInput(t *testing.T) {
	for title, body := range map[string]string{
		"nothing":               "",
		"no status":             "scope=db",
		"no such status":        "scope=db&status=fail",
		"no scope":              "status=down",
		"no such scope":         "scope=nope&status=down",
		"nothing to lift":       "scope=nope&status=auto",
		"no duration":           "scope=db&status=down&ttl=10",
		"words":                 "scope=db&status=down&ttl=soon",
		"a negative duration":   "scope=db&status=down&ttl=-5m",
		"too long a duration":   "scope=db&status=down&ttl=99999999h",
		"too long a body":       "scope=db&status=down&reason=" + strings.Repeat("x", 64<<10),
		"what cannot be read":   "scope=db&status=down&ttl=%zz",
		"a semicolon":           "scope=db&status=down&ttl=10m;",
		"a reason cut off":      "scope=db&status=down&reason=100%",
		"an endless ttl, later": "scope=db&status=down&" + strings.Repeat("x", 64<<10) + "&ttl=5m",
	} {
		bubble(t, title, func(t *testing.T) {
			c := single(t, healthcheck.Check{Probe: passing})
			ask(t, c.Details(), "/")
			w := post(c.Admin(everybody), body)
			assert.Equal(t, 400, w.Code, w.Body)
			assert.NotEmpty(t, strings.TrimSpace(w.Body.String()))
			is(t, c, name, healthcheck.Pass)
			assert.Empty(t, c.Overrides())
		})
	}
	bubble(t, "in the URL, where crawlers and logs are", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		r := httptest.NewRequest(http.MethodPost, "/admin?scope=db&status=down", http.NoBody)
		w := httptest.NewRecorder()
		c.Admin(everybody).ServeHTTP(w, r)
		assert.Equal(t, 400, w.Code)
	})
	bubble(t, "a body that is no form", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		w := post(c.Admin(everybody), `{"scope":"db","status":"down"}`, "Content-Type", "application/json")
		assert.Equal(t, 400, w.Code)
	})
	bubble(t, "before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		w := post(c.Admin(everybody), "scope=db&status=down")
		assert.Equal(t, 400, w.Code)
		assert.Contains(t, w.Body.String(), "not started")
	})
}
