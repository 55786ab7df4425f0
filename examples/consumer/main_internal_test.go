package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

// The program as it is in README.md, but for a day that is over before it becomes bad.
func TestDemo(t *testing.T) {
	b := newBroker(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer log.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-nats", b.url(), "-demo", "1500", "-delay", "50ms"}, log) }()
	require.Eventually(t, func() bool {
		stream, missing := b.js.Stream(t.Context(), orders)
		return missing == nil && stream.CachedInfo().State.LastSeq == 1500 && stream.CachedInfo().State.Msgs == 0
	}, soon, tick, "all orders are done")
	cancel()
	require.NoError(t, <-ended)

	letters := b.letters(t)
	require.Len(t, letters, 1, "one order in a thousand")
	assert.Equal(t, `{"order":1000}`, string(letters[0].Data))
	assert.Equal(t, "answered with 409", letters[0].Header.Get(deadReason))
	text, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	assert.Contains(t, string(text), "level=WARN msg=\"dead letter\" message=ORDERS-1000 attempts=1")
	assert.Regexp(t, `msg=stopped here=0 done=1499 retried=\d+ dead=1 returned=0\n$`, string(text), "the last word")
}

func TestBadConfig(t *testing.T) {
	rows := []struct {
		want string
		args []string
	}{
		{"say -to URL, or -demo N", nil},
		{"say -to URL, or -demo N", []string{"-to", "http://127.0.0.1", "-demo", "1"}},
		{"-demo less than 0", []string{"-demo", "-1"}},
		{"-attempts is less than 1", []string{"-demo", "1", "-attempts", "0"}},
		{"not positive", []string{"-demo", "1", "-grace", "0s"}},
		{"-ack-wait is less than a second", []string{"-demo", "1", "-ack-wait", "1ms"}},
		{`what is "work" for?`, []string{"-demo", "1", "work"}},
		{"no servers available", []string{"-demo", "1", "-nats", "nats://127.0.0.1:1"}},
	}
	for _, row := range rows {
		assert.ErrorContains(t, run(t.Context(), row.args, io.Discard), row.want, row.args)
	}
}

type hinted struct{ time.Duration }

func (hinted) Error() string                 { return "later" }
func (h hinted) RetryAfter() time.Duration   { return h.Duration }
func (h hinted) wrapped() error              { return fmt.Errorf("the warehouse: %w", h) }
func between(least time.Duration) [2]float64 { return [2]float64{float64(least), 1.5 * float64(least)} }

func TestBackoff(t *testing.T) {
	c := &consumer{policy: policy{delay: time.Second, maxDelay: 10 * time.Second}}
	rows := []struct {
		attempt int
		err     error
		want    time.Duration // and half of it more at most
	}{
		{1, errors.ErrUnsupported, time.Second},
		{2, errors.ErrUnsupported, 2 * time.Second},
		{3, errors.ErrUnsupported, 4 * time.Second},
		{5, errors.ErrUnsupported, 10 * time.Second},
		{math.MaxInt, errors.ErrUnsupported, 10 * time.Second},
		{1, hinted{3 * time.Second}.wrapped(), 3 * time.Second},
		{3, hinted{3 * time.Second}.wrapped(), 4 * time.Second},
		{1, hinted{math.MaxInt64}.wrapped(), 10 * time.Second},
		{1, hinted{-1}.wrapped(), time.Second},
	}
	for _, row := range rows {
		for range 100 {
			got, want := float64(c.backoff(row.attempt, row.err)), between(row.want)
			require.GreaterOrEqual(t, got, want[0], "%+v", row)
			require.LessOrEqual(t, got, want[1], "%+v", row)
		}
	}
}

// letter is a message from nowhere.
type letter struct{ jetstream.Msg }

func (letter) Data() []byte                              { return []byte(`{"order":1}`) }
func (letter) Subject() string                           { return "orders.new" }
func (letter) Metadata() (*jetstream.MsgMetadata, error) { return nil, jetstream.ErrNotJSMessage }

// What an answer means for the message, and for the limit.
func TestPost(t *testing.T) {
	rows := []struct {
		status   int
		after    string
		fails    bool
		poisoned bool
		hint     time.Duration
		outcome  backpressure.Outcome
	}{
		{status: 200},
		{status: 204},
		{status: 304, fails: true, poisoned: true},
		{status: 400, fails: true, poisoned: true},
		{status: 408, fails: true},
		{status: 409, fails: true, poisoned: true},
		{status: 425, fails: true},
		{status: 429, after: "7", fails: true, hint: 7 * time.Second, outcome: backpressure.Overload},
		{status: 500, fails: true},
		{status: 503, after: "-7", fails: true, hint: -7 * time.Second, outcome: backpressure.Overload},
		{status: 503, after: "soon", fails: true, outcome: backpressure.Overload},
		{status: 503, after: "9999999999", fails: true, hint: 24 * time.Hour, outcome: backpressure.Overload},
	}
	for _, row := range rows {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.Equal(t, http.MethodPost, r.Method)
			assert.JSONEq(t, `{"order":1}`, string(body))
			assert.Equal(t, "orders.new", r.Header.Get("Idempotency-Key"))
			if row.after != "" {
				w.Header().Set("Retry-After", row.after)
			}
			w.WriteHeader(row.status)
		}))
		err := poster(server.URL)(t.Context(), letter{})
		server.Close()
		assert.Equal(t, row.fails, err != nil, "%+v: %v", row, err)
		_, poisoned := errors.AsType[*poisonError](err)
		assert.Equal(t, row.poisoned, poisoned, "%+v", row)
		if status, ok := errors.AsType[*statusError](err); ok {
			assert.Equal(t, row.hint, status.RetryAfter(), "%+v", row)
		}
		assert.Equal(t, row.outcome, judge(err), "%+v", row)
	}
	assert.Error(t, poster("http://127.0.0.1:1")(t.Context(), letter{}), "nobody answers")
	_, poisoned := errors.AsType[*poisonError](poster("%")(t.Context(), letter{}))
	assert.True(t, poisoned)
}
