package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/stale"
)

// servers is all that listens, on loopback only, and what they call with.
type servers struct {
	list    []*http.Server
	health  []*healthcheck.Checker
	clients []*http.Client
	caches  []*stale.Cache
	serving sync.WaitGroup
}

// start serves a service's routes and its health on a free port, and returns its
// address.
func (s *servers) start(ctx context.Context, mux *http.ServeMux, health *healthcheck.Checker) (string, error) {
	handler := endpoints(mux, health)
	if err := health.Start(); err != nil {
		return "", err
	}
	s.health = append(s.health, health)
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
			mux := http.NewServeMux()
			mux.Handle("/", &replica{upstream: u, number: i, script: script, start: start, record: record})
			host, err := s.start(ctx, mux, newHealth(u.name))
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
	ctx context.Context, hosts map[string][]string, health *known, start time.Time, record *record, open shop,
) (map[string]string, error) {
	urls := make(map[string]string)
	// A timeout knows of nothing between two calls: naive has the same endpoints,
	// and no check that could tell them anything.
	checkers := map[string]*healthcheck.Checker{naive: newHealth(naive), failsoft: health.checker}
	cache := newCache()
	s.caches = append(s.caches, cache)
	for name, client := range map[string]*http.Client{
		naive:    naiveClient(hosts, meter{front: naive, start: start, record: record}),
		failsoft: failsoftClient(hosts, cache, health, meter{front: failsoft, start: start, record: record}),
	} {
		s.clients = append(s.clients, client)
		address, err := s.start(ctx, open(name, client), checkers[name])
		if err != nil {
			return nil, err
		}
		urls[name] = "http://" + address
	}
	health.begin()
	return urls, nil
}

// stop closes all servers and connections. A service that somebody depends on ends
// by Checker.Shutdown instead, which gives balancers the time to notice.
func (s *servers) stop() {
	for _, server := range s.list {
		_ = server.Close() // nobody is left to be hurt
	}
	for _, cache := range s.caches {
		_ = cache.Close(context.Background()) // what it still fetches ends with the servers
	}
	for _, health := range s.health {
		_ = health.Close(context.Background()) // no probe that it would wait for
	}
	for _, client := range s.clients {
		client.CloseIdleConnections()
	}
	s.serving.Wait()
}
