package main

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"github.com/failsoft/failsoft/healthcheck"
)

// operators returns the routes for those who run this program.
func (e *edge) operators(token string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", e.health.Handler(healthcheck.Ready))
	mux.HandleFunc("GET /snapshot", e.snapshot)
	if token != "" {
		mux.Handle("/purge", e.cache.Purger(bearer(token)))
	}
	return mux
}

func (e *edge) snapshot(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(e.cache.Snapshot(), "", "\t")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text)
}

// bearer says who may purge. It takes as long for any token, so that nobody can try
// them by the letter.
func bearer(token string) func(*http.Request) bool {
	want := []byte("Bearer " + token)
	return func(r *http.Request) bool {
		return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) == 1
	}
}
