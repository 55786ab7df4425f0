package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// servers is all that listens, on loopback only, and what they call with.
type servers struct {
	list    []*http.Server
	clients []*http.Client
	serving sync.WaitGroup
}

// start serves handler on a free port and returns its address.
func (s *servers) start(ctx context.Context, handler http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no port to listen on: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	s.list = append(s.list, server)
	s.serving.Go(func() { _ = server.Serve(listener) }) // it always ends with an error: it was closed
	return listener.Addr().String(), nil
}

// startUpstreams starts all replicas and returns their addresses by name.
func (s *servers) startUpstreams(
	ctx context.Context, script script, start time.Time, record *record,
) (map[string][]string, error) {
	hosts := make(map[string][]string)
	for _, u := range upstreams() {
		for i := range u.replicas {
			host, err := s.start(ctx, &replica{upstream: u, number: i, script: script, start: start, record: record})
			if err != nil {
				return nil, err
			}
			hosts[u.name] = append(hosts[u.name], host)
		}
	}
	return hosts, nil
}

// startFronts starts the two shop fronts and returns their URLs by name. They
// share no connections, so that neither suffers from what the other does.
func (s *servers) startFronts(
	ctx context.Context, hosts map[string][]string, start time.Time, record *record,
) (map[string]string, error) {
	urls := make(map[string]string)
	for name, newClient := range map[string]func(map[string][]string) *http.Client{
		naive:    naiveClient,
		failsoft: failsoftClient,
	} {
		client := newClient(hosts)
		s.clients = append(s.clients, client)
		mux := http.NewServeMux()
		mux.Handle("GET /products/{product}", &front{name: name, client: client, start: start, record: record})
		address, err := s.start(ctx, mux)
		if err != nil {
			return nil, err
		}
		urls[name] = "http://" + address
	}
	return urls, nil
}

// stop closes all servers and connections.
func (s *servers) stop() {
	for _, server := range s.list {
		_ = server.Close() // nobody is left to be hurt
	}
	for _, client := range s.clients {
		client.CloseIdleConnections()
	}
	s.serving.Wait()
}
