package breaker_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func anyone(*http.Request) bool { return true }

// adminOf returns a Breaker with a circuit "shop.test" and its admin handler.
func adminOf(t *testing.T, cfg breaker.AdminConfig) (*breaker.Breaker, http.Handler) {
	t.Helper()
	b := breaker.MustNew(breaker.Config{})
	require.NoError(t, b.Run(t.Context(), "shop.test", func(context.Context) error { return nil }))
	return b, b.Admin(cfg)
}

// ask sends a request with headers, given as name, value, name, value.
func ask(h http.Handler, method, target, body string, headers ...string) *http.Response {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, req)
	return answer.Result()
}

func sendJSON(h http.Handler, body string, headers ...string) *http.Response {
	return ask(h, http.MethodPost, "/", body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func sendForm(h http.Handler, body string, headers ...string) *http.Response {
	headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	return ask(h, http.MethodPost, "/", body, headers...)
}

func textOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func overrideOf(t *testing.T, b *breaker.Breaker) breaker.Override {
	t.Helper()
	circuits := b.Snapshot().Circuits
	require.Len(t, circuits, 1, "a circuit was created")
	return circuits[0].Override
}

func TestAdminListsJSON(t *testing.T) {
	t.Run("with stable names, durations as text and words", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{Consecutive: 1}})
			call, err := b.Allow(t.Context(), "shop.test")
			require.NoError(t, err)
			_, err = b.Allow(t.Context(), "shop.test") // stays in flight
			require.NoError(t, err)
			call.Done(&hinted{1500 * time.Millisecond})
			require.NoError(t, b.Set("shop.test", breaker.Override{
				Mode: breaker.Shadow, Reason: "watching", TTL: 90 * time.Second,
			}))
			since := time.Now().UTC().Format(time.RFC3339)

			resp := ask(b.Admin(breaker.AdminConfig{}), http.MethodGet, "/", "", "Accept", "application/json")
			assert.Equal(t, http.StatusOK, resp.StatusCode)
			assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			assert.JSONEq(t, `{
				"circuits": [{
					"key": "shop.test", "state": "open", "since": "`+since+`", "cause": "consecutive failures",
					"override": {"mode": "shadow", "reason": "watching", "ttl": "1m30s"},
					"retry_after": "1.5s",
					"window": {"successes": 0, "failures": 0, "slow": 0, "overload": 0, "consecutive": 0},
					"in_flight": 1,
					"counts": {"successes": 0, "failures": 1, "slow": 0, "overload": 0, "ignored": 0, "rejected": 0},
					"last_error": "<b>come back</b>"
				}],
				"open": 1, "unguarded": false, "overflow": 0
			}`, textOf(t, resp))
		})
	})
	t.Run("as a list even if there is none", func(t *testing.T) {
		resp := ask(breaker.MustNew(breaker.Config{}).Admin(breaker.AdminConfig{}), http.MethodGet, "/?format=json", "")
		assert.JSONEq(t, `{"circuits": [], "open": 0, "unguarded": false, "overflow": 0}`, textOf(t, resp))
	})
	const html, text = "text/html; charset=utf-8", "application/json"
	_, h := adminOf(t, breaker.AdminConfig{})
	for accept, want := range map[string]string{
		"": html, "*/*": html, "text/html,application/xml;q=0.9,*/*;q=0.8": html,
		"application/json, text/plain, */*": text, "text/html;q=0.5, application/json": text,
		"text/html, application/json;q=0.9": html, "application/json;q=0": html, ";;,application/json;q=x": html,
	} {
		assert.Equal(t, want, ask(h, http.MethodGet, "/", "", "Accept", accept).Header.Get("Content-Type"), accept)
	}
	assert.Equal(t, html, ask(h, http.MethodGet, "/?format=html", "", "Accept", text).Header.Get("Content-Type"))
}

// hinted is an error with a Retry-After, and a text that wants to be HTML.
type hinted struct{ after time.Duration }

func (*hinted) Error() string               { return "<b>come back</b>" }
func (e *hinted) RetryAfter() time.Duration { return e.after }

func TestAdminPage(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	b := breaker.MustNew(breaker.Config{})
	require.NoError(t, b.Set(evil, breaker.Override{Mode: breaker.Isolated, Reason: "<i>why</i>", TTL: time.Hour}))
	call, err := b.Allow(t.Context(), "shop.test")
	require.NoError(t, err)
	_ = b.Trip("shop.test")

	t.Run("is readable, escaped and without forms", func(t *testing.T) {
		resp := ask(b.Admin(breaker.AdminConfig{}), http.MethodGet, "/", "")
		page := textOf(t, resp)
		for _, want := range []string{
			"shop.test", "open", "by hand", "isolated", "&lt;i&gt;why&lt;/i&gt;", "for another 1h0m0s", "s ago",
			"0 good, 0 failed", "<td>1</td>", "0 refused", "&lt;script&gt;",
		} {
			assert.Contains(t, page, want)
		}
		for _, not := range []string{"<script", "<i>", "<form", "<button", "src=", "href=", "url(", "style="} {
			assert.NotContains(t, page, not)
		}
	})
	t.Run("shows the latest error", func(t *testing.T) {
		failed := breaker.MustNew(breaker.Config{})
		_ = failed.Run(t.Context(), "x", func(context.Context) error { return errors.New("<b>broken</b>") })
		page := textOf(t, ask(failed.Admin(breaker.AdminConfig{}), http.MethodGet, "/", ""))
		assert.Contains(t, page, "&lt;b&gt;broken&lt;/b&gt;")
	})
	t.Run("has headers that keep it to itself, and a style that they allow", func(t *testing.T) {
		resp := ask(b.Admin(breaker.AdminConfig{}), http.MethodGet, "/", "")
		_, style, _ := strings.Cut(textOf(t, resp), "<style>")
		style, _, found := strings.Cut(style, "</style>")
		require.True(t, found)
		hash := sha256.Sum256([]byte(style))
		policy := resp.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'")
		assert.Contains(t, policy, "'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'")
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		assert.Equal(t, "same-origin", resp.Header.Get("Referrer-Policy"))
	})
	t.Run("has forms for who is authorized", func(t *testing.T) {
		h := b.Admin(breaker.AdminConfig{Authorize: func(req *http.Request) bool { return req.Header.Get("User") == "root" }})
		page := textOf(t, ask(h, http.MethodGet, "/", "", "User", "root"))
		assert.Contains(t, page, `<form method="post">`)
		for _, command := range []string{"isolate", "force-closed", "shadow", "release", "trip", "reset"} {
			assert.Contains(t, page, `value="`+command+`"`)
		}
		assert.NotContains(t, page, "<script")
		assert.NotContains(t, textOf(t, ask(h, http.MethodGet, "/", "")), "<form")
	})
	t.Run("survives an Authorize that panics, without forms", func(t *testing.T) {
		h := b.Admin(breaker.AdminConfig{Authorize: func(*http.Request) bool { panic("boom") }})
		resp := ask(h, http.MethodGet, "/", "")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.NotContains(t, textOf(t, resp), "<form")
	})
	call.Done(nil)
}

func TestAdminAnswersHEADWithoutABody(t *testing.T) {
	_, h := adminOf(t, breaker.AdminConfig{})
	for _, target := range []string{"/?format=json", "/?format=html"} {
		head := ask(h, http.MethodHead, target, "")
		assert.Equal(t, http.StatusOK, head.StatusCode)
		assert.Empty(t, textOf(t, head))
		assert.Positive(t, head.ContentLength)
	}
}
