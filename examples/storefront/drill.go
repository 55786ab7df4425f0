package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

var (
	// errInterrupted is what the drill ends with if it was not let finish.
	errInterrupted = errors.New("interrupted: no verdict")

	// errBusy joins a verdict against failsoft that may be the machine's fault.
	errBusy = errors.New("this machine was too busy to be sure")
)

// drill runs the script once and reports.
func drill(ctx context.Context, s script, perPhase int, plain bool, out io.Writer) error {
	visitors := newVisitors(s, perPhase)
	result := newRecord(s, visitors)
	start := time.Now().Add(100 * time.Millisecond) // for the servers to come up

	var up servers
	defer up.stop()
	hosts, err := up.startUpstreams(ctx, s, start, result)
	if err != nil {
		return err
	}
	known := newCircuits(hosts)
	fronts, err := up.startFronts(ctx, hosts, known, start, result)
	if err != nil {
		return err
	}
	pool := &http.Transport{MaxIdleConnsPerHost: 1024}
	defer pool.CloseIdleConnections()
	shoppers := crowd{
		visitors: visitors, fronts: fronts, start: start, record: result,
		client: &http.Client{Transport: pool},
	}
	shown := &view{out: out, plain: plain, script: s, start: start, record: result, health: known.health}
	watch(shown, func() { shoppers.come(ctx) })

	if err = report(out, s, result); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	rows := result.rows(s)
	err = errors.Join(judge(rows), result.darkness(s).judge())
	if late, _ := result.latest(); err != nil && (late > tooLate || overdue(rows)) {
		err = errors.Join(err, errBusy)
	}
	return err
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
