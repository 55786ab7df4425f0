package breaker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

const isolate = `{"key": "shop.test", "command": "isolate", "reason": "moving"}`

func TestAdminIsReadOnlyWithoutAuthorize(t *testing.T) {
	b, h := adminOf(t, breaker.AdminConfig{})
	resp := sendJSON(h, isolate)
	assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	assert.Equal(t, breaker.Override{}, overrideOf(t, b))

	resp = ask(b.Admin(breaker.AdminConfig{Authorize: anyone}), http.MethodDelete, "/", "")
	assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	assert.Equal(t, "GET, HEAD, POST", resp.Header.Get("Allow"))
}

func TestAdminRefusesWhoIsNotAuthorized(t *testing.T) {
	for name, row := range map[string]struct {
		authorize func(*http.Request) bool
		want      int
	}{
		"says no":              {func(*http.Request) bool { return false }, http.StatusForbidden},
		"panics":               {func(*http.Request) bool { panic("boom") }, http.StatusInternalServerError},
		"panics with an error": {func(*http.Request) bool { panic(http.ErrAbortHandler) }, http.StatusInternalServerError},
		"panics late":          {func(*http.Request) bool { defer panic("boom"); return true }, http.StatusInternalServerError},
		"reads the body, agrees": {func(req *http.Request) bool {
			body, err := io.ReadAll(req.Body)
			return err == nil && string(body) == isolate
		}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			b, h := adminOf(t, breaker.AdminConfig{Authorize: row.authorize})
			resp := sendJSON(h, isolate)
			assert.Equal(t, row.want, resp.StatusCode)
			text := textOf(t, resp)
			assert.NotContains(t, text, "boom")
			if row.want != http.StatusOK {
				assert.Contains(t, text, `"error": "breaker: refused`)
				assert.Equal(t, breaker.Override{}, overrideOf(t, b))
			}
		})
	}
}

func TestAdminRefusesOtherOrigins(t *testing.T) {
	for name, row := range map[string]struct {
		headers []string
		want    int
	}{
		"cross-site":               {[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"same-site":                {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://example.com"}, http.StatusForbidden},
		"only Origin":              {[]string{"Origin", "https://evil.test"}, http.StatusForbidden},
		"Origin with another port": {[]string{"Origin", "http://example.com:8080"}, http.StatusForbidden},
		"Origin that begins alike": {[]string{"Origin", "http://example.com.evil.test"}, http.StatusForbidden},
		"null Origin":              {[]string{"Origin", "null"}, http.StatusForbidden},
		"Origin that is no URL":    {[]string{"Origin", "http://%zz"}, http.StatusForbidden},
		"same Origin":              {[]string{"Origin", "http://example.com"}, http.StatusOK},
		"same-origin":              {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://outside.test"}, http.StatusOK},
		"no browser":               {nil, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			asked := false
			b, h := adminOf(t, breaker.AdminConfig{Authorize: func(*http.Request) bool { asked = true; return true }})
			resp := sendJSON(h, isolate, row.headers...)
			assert.Equal(t, row.want, resp.StatusCode)
			if row.want == http.StatusForbidden {
				assert.False(t, asked, "Authorize heard of it")
				assert.Contains(t, textOf(t, resp), "another origin")
				assert.Equal(t, breaker.Override{}, overrideOf(t, b))
			}
		})
	}
}

func TestAdminDoesNotCreateCircuits(t *testing.T) {
	b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
	for _, key := range []string{"shop.tset", "", "(overflow)"} {
		for _, command := range []string{"isolate", "force-closed", "shadow", "release", "trip", "reset"} {
			values := url.Values{"key": {key}, "command": {command}}
			if command == "isolate" {
				values.Set("reason", "moving")
			}
			resp := sendForm(h, values.Encode())
			assert.Equal(t, http.StatusNotFound, resp.StatusCode)
			assert.Equal(t, fmt.Sprintf("%v: %q\n", breaker.ErrUnknownKey, key), textOf(t, resp))
			require.Len(t, b.Snapshot().Circuits, 1)
		}
	}
}

func TestAdminSaysWhatIsWrongWithACommand(t *testing.T) {
	const bad = http.StatusBadRequest
	for name, row := range map[string]struct {
		body, want string
		status     int
	}{
		"no JSON":                  {`{`, "JSON cannot be read", bad},
		"null":                     {`null`, "key is missing", bad},
		"another type":             {`{"key": 7}`, "JSON cannot be read", bad},
		"a mistyped field":         {`{"key": "shop.test", "command": "shadow", "tll": "1m"}`, `unknown field \"tll\"`, bad},
		"two commands":             {isolate + isolate, "followed by something else", bad},
		"no key":                   {`{"command": "trip"}`, "key is missing", bad},
		"no command":               {`{"key": "shop.test"}`, "command is missing", bad},
		"another command":          {`{"key": "shop.test", "command": "explode"}`, "isolate, force-closed", bad},
		"isolation without reason": {`{"key": "shop.test", "command": "isolate", "reason": " "}`, "needs a reason", bad},
		"ttl that is none":         {`{"key": "shop.test", "command": "shadow", "ttl": "soon"}`, "is not a duration", bad},
		"ttl of zero":              {`{"key": "shop.test", "command": "shadow", "ttl": "0s"}`, "is not positive", bad},
		"negative ttl":             {`{"key": "shop.test", "command": "shadow", "ttl": "-1m"}`, "is not positive", bad},
		"endless ttl":              {`{"key": "shop.test", "command": "shadow", "ttl": "1000000h"}`, "not from 0 to a year", bad},
		"ttl of nothing":           {`{"key": "shop.test", "command": "release", "ttl": "1m"}`, "nothing to hold", bad},
		"trip with a reason":       {`{"key": "shop.test", "command": "trip", "reason": "x"}`, "takes no reason", bad},
		"reset with a ttl":         {`{"key": "shop.test", "command": "reset", "ttl": "1m"}`, "takes no reason", bad},
		"an essay":                 {`{"key": "shop.test", "command": "shadow", "reason": "` + strings.Repeat("x", 1025) + `"}`, "more than 1024", bad},
		"a novel":                  {`{"key": "` + strings.Repeat("x", 64<<10) + `"}`, "larger than 64 KiB", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
			resp := sendJSON(h, row.body)
			assert.Equal(t, row.status, resp.StatusCode)
			assert.Contains(t, textOf(t, resp), row.want)
			assert.Equal(t, breaker.Override{}, overrideOf(t, b))
			assert.Equal(t, breaker.Closed, b.State("shop.test"))
		})
	}
	b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
	for body, want := range map[string]string{
		"key=shop.test&command=shadow&ttl=%zz":        "form cannot be read",
		"key=shop.test&key=other&command=shadow":      "key is given more than once",
		"key=shop.test&command=trip&command=isolate":  "command is given more than once",
		"key=shop.test&command=shadow&ttl=1m&ttl=10h": "ttl is given more than once",
		"": "key is missing",
	} {
		resp := sendForm(h, body)
		assert.Equal(t, bad, resp.StatusCode)
		assert.Contains(t, textOf(t, resp), want)
	}
	for _, contentType := range []string{"", "text/plain", "multipart/form-data; boundary=x", ";"} {
		resp := ask(h, http.MethodPost, "/", isolate, "Content-Type", contentType)
		assert.Equal(t, http.StatusUnsupportedMediaType, resp.StatusCode, contentType)
	}
	req := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("reset")))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, req)
	assert.Equal(t, bad, answer.Code)
	assert.Equal(t, breaker.Override{}, overrideOf(t, b))
}

func TestAdminErrorsAreTextOrJSON(t *testing.T) {
	_, h := adminOf(t, breaker.AdminConfig{})
	resp := ask(h, http.MethodPut, "/", "", "Accept", "application/json")
	var answer struct{ Error string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	assert.Equal(t, "breaker: method PUT is not one of GET, HEAD", answer.Error)

	resp = ask(h, http.MethodPut, "/", "")
	assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Equal(t, "breaker: method PUT is not one of GET, HEAD\n", textOf(t, resp))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
}

// FuzzAdminCommand sends any body: it must be answered, and only the circuit
// that exists may change, only by a command that was answered well.
func FuzzAdminCommand(f *testing.F) {
	f.Add(isolate, true)
	f.Add("key=shop.test&command=isolate&reason=x&ttl=1m", false)
	f.Add("key=shop.test&command=reset", false)
	f.Add(`{"key": "other", "command": "trip"}`, true)
	f.Add("key=other&command=shadow&ttl=1h", false)
	f.Add(`{"key":"shop.test","command":"trip"} x`, true)
	f.Fuzz(func(t *testing.T, body string, asJSON bool) {
		b := breaker.MustNew(breaker.Config{})
		_ = b.Run(t.Context(), "shop.test", func(context.Context) error { return nil })
		h := b.Admin(breaker.AdminConfig{Authorize: anyone})
		post := sendForm
		if asJSON {
			post = sendJSON
		}
		resp := post(h, body)
		after := b.Snapshot()
		require.Len(t, after.Circuits, 1)
		require.Equal(t, "shop.test", after.Circuits[0].Key)
		switch resp.StatusCode {
		case http.StatusOK, http.StatusSeeOther:
		case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
			require.Equal(t, breaker.Override{}, after.Circuits[0].Override)
			require.Equal(t, breaker.Closed, after.Circuits[0].State)
		default:
			require.Failf(t, "unexpected status", "%d for %q", resp.StatusCode, body)
		}
	})
}
