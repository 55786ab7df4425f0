package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// act is a part of the drill: a script, and visitors who come while it is played. Each
// has servers of its own, so that it begins with everybody at rest.
type act struct {
	script   script
	visitors []visitor
	patience time.Duration
	record   *record            // of the pages, and of what upstreams are asked
	asks     map[string]*record // as in crowd
	open     shop
}

// shop makes a front, of that name and with that client.
type shop func(name string, client *http.Client) *http.ServeMux

// outages is the first act, in which nothing but the upstreams is short of anything.
func outages(s script, perPhase int) act {
	visitors := newVisitors(s, perPhase)
	pages := newRecord(s, visitors)
	return act{
		script: s, visitors: visitors, patience: patience,
		record: pages, asks: map[string]*record{pathPages: pages}, open: plenty(pages),
	}
}

// plenty returns what makes fronts that have staff to spare.
func plenty(pages *record) shop {
	return func(name string, client *http.Client) *http.ServeMux {
		mux := http.NewServeMux()
		mux.Handle("GET "+pathPages+"{product}",
			&front{name: name, sources: upstreams(), client: client, record: pages})
		return mux
	}
}

// play plays the act and shows it. It returns an error if it could not begin.
func (a act) play(ctx context.Context, plain bool, out io.Writer) error {
	start := time.Now().Add(100 * time.Millisecond) // for the servers to come up
	var up servers
	defer up.stop()
	hosts, err := up.startUpstreams(ctx, a.script, start, a.record)
	if err != nil {
		return err
	}
	health := newKnown(hosts)
	fronts, err := up.startFronts(ctx, hosts, health, start, a.record, a.open)
	if err != nil {
		return err
	}
	pool := &http.Transport{MaxIdleConnsPerHost: 1024}
	defer pool.CloseIdleConnections()
	shoppers := crowd{
		visitors: a.visitors, patience: a.patience, asks: a.asks, fronts: fronts, start: start,
		client: &http.Client{Transport: pool},
	}
	shown := &view{out: out, plain: plain, script: a.script, start: start, record: a.record, health: health.checker}
	watch(shown, func() { shoppers.come(ctx) })
	return nil
}

// watch shows v while do runs.
func watch(v *view, do func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var showing sync.WaitGroup
	showing.Go(func() { v.show(ctx) })
	do()
	cancel()
	showing.Wait()
}
