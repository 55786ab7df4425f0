package breaker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

func TestAdminCommands(t *testing.T) {
	for command, want := range map[string]breaker.Override{
		`"isolate", "reason": " moving ", "ttl": "15m"`: {Mode: breaker.Isolated, Reason: "moving", TTL: 15 * time.Minute},
		`"force-closed"`: {Mode: breaker.ForceClosed},
		`"shadow", "reason": "watching", "ttl": ""`: {Mode: breaker.Shadow, Reason: "watching"},
		`"release", "reason": "moved"`:              {}, // the reason is in the event
	} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
				require.NoError(t, b.Set("shop.test", breaker.Override{Mode: breaker.Shadow, Reason: "before"}))
				resp := sendJSON(h, `{"key": "shop.test", "command": `+command+`}`)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				got := overrideOf(t, b)
				assert.Equal(t, want, got)
				var answer struct {
					Key      string                             `json:"key"`
					Override struct{ Mode, Reason, TTL string } `json:"override"`
				}
				require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
				assert.Equal(t, "shop.test", answer.Key)
				assert.Equal(t, want.Mode.String(), answer.Override.Mode)
				assert.Equal(t, want.TTL.String(), answer.Override.TTL)
			})
		})
	}
	t.Run("trip and reset", func(t *testing.T) {
		b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
		resp := sendJSON(h, `{"key": "shop.test", "command": "trip"}`)
		assert.Contains(t, textOf(t, resp), `"cause": "by hand"`)
		assert.Equal(t, 1, b.Snapshot().Open)
		sendJSON(h, `{"key": "shop.test", "command": "reset"}`)
		assert.Equal(t, breaker.Closed, b.State("shop.test"))
		assert.Zero(t, b.Snapshot().Open)
	})
	t.Run("count for the guard on too many open circuits", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{Rules: breaker.Rules{OpenTime: time.Hour, MaxOpenTime: time.Hour}})
		h := b.Admin(breaker.AdminConfig{Authorize: anyone})
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			require.NoError(t, b.Set(key, breaker.Override{}))
		}
		for _, key := range []string{"a", "b", "c"} {
			sendJSON(h, `{"key": "`+key+`", "command": "trip"}`)
		}
		assert.True(t, b.Snapshot().Unguarded)
		sendJSON(h, `{"key": "a", "command": "reset"}`)
		assert.False(t, b.Snapshot().Unguarded)
	})
	t.Run("tell the observer, with the context of the request", func(t *testing.T) {
		type user struct{}
		var who any
		b := breaker.MustNew(breaker.Config{Observe: func(ctx context.Context, e breaker.Event) {
			if e.Kind == breaker.Overridden {
				who = ctx.Value(user{})
			}
		}})
		require.NoError(t, b.Set("", breaker.Override{}))
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"key": "", "command": "shadow"}`))
		req.Header.Set("Content-Type", "application/json")
		req = req.WithContext(context.WithValue(req.Context(), user{}, "ann"))
		answer := httptest.NewRecorder()
		_ = b.Trip("")
		b.Admin(breaker.AdminConfig{Authorize: anyone}).ServeHTTP(answer, req)
		assert.Equal(t, http.StatusOK, answer.Code)
		assert.Equal(t, "ann", who)
	})
	t.Run("reach the circuit that keys share", func(t *testing.T) {
		b := breaker.MustNew(breaker.Config{MaxKeys: 1})
		for _, key := range []string{"a", "b"} { // both busy
			_, err := b.Allow(t.Context(), key)
			require.NoError(t, err)
		}
		h := b.Admin(breaker.AdminConfig{Authorize: anyone})
		resp := sendJSON(h, `{"key": "(overflow)", "command": "isolate", "reason": "flood"}`)
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		_, err := b.Allow(t.Context(), "c")
		require.ErrorIs(t, err, breaker.ErrOpen)
	})
}

func TestAdminAnswersForms(t *testing.T) {
	b, h := adminOf(t, breaker.AdminConfig{Authorize: anyone})
	const form = "key=shop.test&command=isolate&reason=moving+house&ttl=&token=other"
	t.Run("with a way back to the page, wherever it is mounted", func(t *testing.T) {
		server := httptest.NewServer(http.StripPrefix("/debug", h))
		defer server.Close()
		values, err := url.ParseQuery(form)
		require.NoError(t, err)
		resp, err := server.Client().PostForm(server.URL+"/debug/breakers?view=1", values)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, "/debug/breakers?view=1", resp.Request.URL.RequestURI())
		assert.Equal(t, http.StatusSeeOther, resp.Request.Response.StatusCode)
		assert.Contains(t, textOf(t, resp), "moving house")
		assert.Equal(t, breaker.Isolated, overrideOf(t, b).Mode)
	})
	t.Run("with the state for who accepts JSON", func(t *testing.T) {
		resp := sendForm(h, form, "Accept", "application/json")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Contains(t, textOf(t, resp), `"mode": "isolated"`)
	})
	t.Run("that a middleware has read", func(t *testing.T) {
		b, h = adminOf(t, breaker.AdminConfig{Authorize: anyone})
		resp := sendForm(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			assert.Equal(t, "other", req.PostFormValue("token"))
			h.ServeHTTP(w, req)
		}), form)
		assert.Equal(t, http.StatusSeeOther, resp.StatusCode)
		assert.Equal(t, breaker.Isolated, overrideOf(t, b).Mode)
	})
}

// A command that was answered well holds, whatever else makes circuits come and
// go at the same time.
func TestAdminCommandsHoldWhileCircuitsAreEvicted(t *testing.T) {
	b := breaker.MustNew(breaker.Config{MaxKeys: 2})
	h := b.Admin(breaker.AdminConfig{Authorize: anyone})
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				assert.NoError(t, b.Set("other-"+strconv.Itoa(i), breaker.Override{}))
			}
		}
	})
	answers := map[int]int{}
	for range 500 {
		assert.NoError(t, b.Set("shop.test", breaker.Override{}))
		status := sendJSON(h, isolate).StatusCode
		answers[status]++
		if status == http.StatusOK {
			_, err := b.Allow(t.Context(), "shop.test")
			assert.ErrorIs(t, err, breaker.ErrOpen)
			assert.Equal(t, http.StatusOK, sendJSON(h, `{"key": "shop.test", "command": "release"}`).StatusCode)
		}
	}
	close(stop)
	churn.Wait()
	t.Log(answers)
	assert.Equal(t, 500, answers[http.StatusOK]+answers[http.StatusNotFound], answers)
	assert.Positive(t, answers[http.StatusOK])
}
