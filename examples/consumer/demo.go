package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// warehouse is what the demo sends orders to. It works on a few at a time, and for a
// while on fewer. One order in a thousand it cannot take, and one in fifty has to be
// sent again.
type warehouse struct {
	places chan struct{}
}

const (
	warehousePlaces = 16
	warehouseWork   = 20 * time.Millisecond
)

func (w *warehouse) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil {
		return // the client has gone
	}
	select {
	case w.places <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	pause(r.Context(), warehouseWork)
	<-w.places
	switch {
	case strings.HasSuffix(string(body), `000}`):
		http.Error(rw, "out of stock", http.StatusConflict)
	case rand.IntN(50) == 0:
		http.Error(rw, "stumbled", http.StatusInternalServerError)
	}
}

// badDay has most of the places out of use from one time to another.
func (w *warehouse) badDay(ctx context.Context, from, until time.Duration) {
	pause(ctx, from)
	const out = warehousePlaces - 2
	for range out {
		select {
		case w.places <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	pause(ctx, until-from)
	for range out {
		<-w.places
	}
}

// demo puts orders into the queue and opens a warehouse, if that is wanted.
func demo(ctx context.Context, js jetstream.JetStream, cfg *config) (end func(), err error) {
	if cfg.demo == 0 {
		return func() {}, nil
	}
	for i := range cfg.demo {
		if _, err = js.PublishAsync("orders.new", fmt.Appendf(nil, `{"order":%d}`, i+1)); err != nil {
			return nil, err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &warehouse{places: make(chan struct{}, warehousePlaces)}
	go w.badDay(ctx, 5*time.Second, 12*time.Second)
	server := &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	cfg.to = "http://" + listener.Addr().String()
	return func() { _ = server.Close() }, nil
}
