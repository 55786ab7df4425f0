package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// routes: InBand is around everything, so that every response tells while the service
// drains. Health stands beside what would limit or authenticate requests, not behind.
func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", s.health.Handler(healthcheck.Live))
	mux.Handle("GET /readyz", s.health.Handler(healthcheck.Ready))
	mux.Handle("GET /startupz", s.health.Handler(healthcheck.Startup))
	mux.Handle("GET /healthz", s.health.Details())

	needsDB := s.health.Require(dbCheck)
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("GET /events", s.events)
	mux.Handle("GET /orders/{id}", needsDB(http.HandlerFunc(s.readOrder)))
	mux.Handle("POST /orders", needsDB(http.HandlerFunc(s.placeOrder)))
	return s.health.InBand(mux)
}

// home works whatever the databases do.
func home(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, "orders, process %d\n", os.Getpid()) // who has left reads no errors
}

// readOrder is refused with the primary, although a replica may be there: nobody
// knows how old that is when it has nobody to follow.
func (s *service) readOrder(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "an order has a number", http.StatusBadRequest)
		return
	}
	var item string
	err = s.reader().QueryRowContext(r.Context(), "SELECT item FROM orders WHERE id = $1", id).Scan(&item)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		http.Error(w, "no such order", http.StatusNotFound)
	case err != nil:
		s.unavailable(w, r, err)
	default:
		_, _ = fmt.Fprintln(w, item)
	}
}

func (s *service) placeOrder(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	item := r.PostFormValue("item")
	if item == "" {
		http.Error(w, "which item?", http.StatusBadRequest)
		return
	}
	var id int64
	err := s.primary.QueryRowContext(r.Context(), "INSERT INTO orders (item) VALUES ($1) RETURNING id", item).Scan(&id)
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("/orders/%d", id))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintln(w, id)
}

// unavailable is for the requests that meet a failure before a check has. Why is for
// the log only: it may name hosts and users.
func (s *service) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.WarnContext(r.Context(), "database", "pattern", r.Pattern, "error", err)
	w.Header().Set("Retry-After", "1")
	http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
}

// events streams how ready the service is. A stream never ends by itself, and
// http.Server waits for it: Stopping is where it ends when the service does.
func (s *service) events(w http.ResponseWriter, r *http.Request) {
	statuses, stop, err := s.health.Watch(healthcheck.Ready)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := http.NewResponseController(w)
	_ = stream.SetReadDeadline(time.Time{}) // the server's ReadTimeout would end the request's context
	for {
		select {
		case status := <-statuses:
			_ = stream.SetWriteDeadline(time.Now().Add(5 * time.Second)) // of this event, not of the stream
			_, _ = fmt.Fprintf(w, "data: %v\n\n", status)
			if stream.Flush() != nil {
				return
			}
		case <-s.health.Stopping():
			return
		case <-r.Context().Done():
			return
		}
	}
}
