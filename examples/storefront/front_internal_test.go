package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers is an upstream for all: by host, what it says in answer, or an error.
type answers map[string]http.Header

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	header, ok := a[req.URL.Host]
	if !ok {
		return nil, errors.New("nobody there")
	}
	status, err := strconv.Atoi(header.Get("Status"))
	if err != nil {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: req}, nil
}

func TestPageIsAsOldAsItsOldestPart(t *testing.T) {
	fresh := http.Header{"Cache-Status": {"failsoft; hit; ttl=0"}}
	old := http.Header{"Cache-Status": {"failsoft; fwd=stale; ttl=-1; detail=failed"}}
	broken := http.Header{"Status": {"503"}}
	for name, c := range map[string]struct {
		upstreams answers
		code      int
		stale     int
	}{
		"all fresh":            {answers{"catalogue": fresh, "prices": {}, "reviews": fresh, "ads": {}}, http.StatusOK, 0},
		"one old":              {answers{"catalogue": fresh, "prices": {}, "reviews": old, "ads": {}}, http.StatusOK, 1},
		"what it can do":       {answers{"catalogue": old, "prices": old, "ads": broken}, http.StatusOK, 1},
		"without a needed one": {answers{"catalogue": old, "reviews": old, "ads": {}}, http.StatusServiceUnavailable, 0},
		"a needed one fails":   {answers{"catalogue": old, "prices": broken}, http.StatusServiceUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(shortest(), 1)
			r := newRecord(s, newVisitors(s, 1))
			mux := http.NewServeMux()
			mux.Handle("GET /products/{product}",
				&front{name: failsoft, sources: upstreams(), client: &http.Client{Transport: c.upstreams}, record: r})
			page := httptest.NewRecorder()
			mux.ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/products/7", http.NoBody))
			assert.Equal(t, c.code, page.Code)
			assert.Equal(t, c.stale, r.tally(failsoft, 0, len(s.phases)).stale)
		})
	}
}

func TestUpstreamsSayHowLongTheirAnswersHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(shortest(), 1)
		r := newRecord(s, newVisitors(s, 1))
		said := make(map[string]string)
		for _, u := range upstreams() {
			answer := httptest.NewRecorder()
			(&replica{upstream: u, script: s, start: time.Now(), record: r}).ServeHTTP(answer, visit(t.Context(), t, 0))
			require.Equal(t, http.StatusOK, answer.Code)
			said[u.name] = answer.Header().Get("Cache-Control")
		}
		assert.Equal(t, map[string]string{
			"catalogue": "max-age=1", "prices": "max-age=1", "reviews": "max-age=1", "ads": "no-store",
		}, said)

		s.phases[0].failing = 1
		answer := httptest.NewRecorder()
		(&replica{upstream: upstreams()[0], script: s, start: time.Now(), record: r}).ServeHTTP(answer, visit(t.Context(), t, 0))
		assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
		assert.Empty(t, answer.Header(), "a failure is not to be kept")
	})
}

func TestMeterTellsWhatBecameOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(shortest(), 1)
		r := newRecord(s, nil)
		start := time.Now()
		time.Sleep(time.Second)
		for _, below := range []http.RoundTripper{
			answers{"catalogue": {}}, answers{"catalogue": {"Status": {"503"}}}, answers{},
		} {
			resp, err := meter{front: naive, start: start, record: r}.over(late{below}).RoundTrip(visit(t.Context(), t, 0))
			if err == nil {
				require.NoError(t, resp.Body.Close())
			}
			time.Sleep(time.Second - late{}.by())
		}
		const by = 10 * time.Millisecond
		all := r.calls(naive, 0, time.Hour)
		assert.Equal(t, []call{
			{upstream: "catalogue", at: 1 * time.Second, took: by, answered: true},
			{upstream: "catalogue", at: 2 * time.Second, took: by},
			{upstream: "catalogue", at: 3 * time.Second, took: by},
		}, all)
		assert.Equal(t, all[1:2], r.calls(naive, 2*time.Second, 3*time.Second))
		assert.Empty(t, r.calls(failsoft, 0, time.Hour))
	})
}

// late is what is below, a little later.
type late struct{ next http.RoundTripper }

func (late) by() time.Duration { return 10 * time.Millisecond }

func (l late) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(l.by())
	return l.next.RoundTrip(req)
}
