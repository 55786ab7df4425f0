package main

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/breaker"
)

// refusing is a breaker with some hosts' circuits open, above hosts that serve.
type refusing struct {
	open map[string]bool
	sent []string // hosts that got a request
}

func (r *refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.open[req.URL.Host] {
		return nil, &breaker.OpenError{Key: req.URL.Host}
	}
	r.sent = append(r.sent, req.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// reach sends a visitor's request for the upstream.
func reach(t *testing.T, below *refusing, visitor int) error {
	t.Helper()
	choice := replicas{hosts: map[string][]string{"catalogue": {"a", "b", "c"}}, next: below}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://catalogue/", http.NoBody)
	require.NoError(t, err)
	req.Header.Set(headerVisitor, strconv.Itoa(visitor))
	resp, err := choice.RoundTrip(req)
	assert.Equal(t, "catalogue", req.URL.Host, "the caller's request is left alone")
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	return err
}

func TestReplicasTakeTurns(t *testing.T) {
	var below refusing
	for visitor := range 4 {
		require.NoError(t, reach(t, &below, visitor))
	}
	assert.Equal(t, []string{"a", "b", "c", "a"}, below.sent)
}

func TestRefusedReplicaIsPassedOver(t *testing.T) {
	below := refusing{open: map[string]bool{"a": true, "c": true}}
	for visitor := range 3 {
		require.NoError(t, reach(t, &below, visitor))
	}
	assert.Equal(t, []string{"b", "b", "b"}, below.sent)

	below.open["b"] = true
	require.ErrorIs(t, reach(t, &below, 0), breaker.ErrOpen, "if all are open")
}
