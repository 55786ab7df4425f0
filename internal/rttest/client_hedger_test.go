package rttest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// hedger is a policy of two attempts at a time: the second starts when the first has no answer
// after 10 ms, or has failed. It is correct; its fields are the flaws that twins give it.
type hedger struct {
	next       http.RoundTripper
	shares     bool // Attempts have the caller's header and URL.
	keepsHooks bool // Attempts call the caller's trace hooks for ever.
	rethrows   bool // The call waits for the attempts that lost, and panics if one of them did.
}

// heat is what became of one attempt of a race.
type heat struct {
	n        int
	resp     *http.Response
	err      error
	panicked any
	exited   bool
}

func (h heat) drop() {
	if h.resp != nil {
		_ = h.resp.Body.Close()
	}
}

// race is one call.
type race struct {
	*hedger

	req     *http.Request
	done    chan heat
	cancels []context.CancelFunc // One for each attempt that was started.
	running int
	open    atomic.Bool // The caller's trace hooks may be called.
}

func (h *hedger) CloseIdleConnections() { rt.CloseIdle(h.next) }

func (h *hedger) RoundTrip(req *http.Request) (*http.Response, error) {
	if !repeatable(req) || rt.CallerOf(req).Ended(time.Now()) != nil {
		return h.next.RoundTrip(req)
	}
	r := &race{hedger: h, req: req, done: make(chan heat, 2)}
	r.open.Store(true)
	r.start(req.Body)
	winner := r.run()
	r.open.Store(false)
	return r.end(winner)
}

// run returns the attempt that decides the call.
func (r *race) run() heat {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()

	var kept heat

	for {
		select {
		case <-timer.C:
			r.second()
		case h := <-r.done:
			r.running--
			if h.panicked != nil || h.exited || !failed(h.resp, h.err) {
				kept.drop()
				return h
			}
			if rt.CallerOf(r.req).Ended(time.Now()) == nil {
				r.second()
			}
			if kept.resp == nil || h.resp != nil {
				kept.drop()
				kept = h
			}
			if r.running == 0 {
				return kept
			}
		}
	}
}

// second starts the second attempt, if there was none.
func (r *race) second() {
	if len(r.cancels) > 1 {
		return
	}
	body := r.req.Body
	if rt.HasBody(r.req) {
		again, err := r.req.GetBody()
		if err != nil {
			return
		}
		body = again
	}
	r.start(body)
}

func (r *race) start(body io.ReadCloser) {
	ctx, cancel := context.WithCancel(r.req.Context())
	if !r.keepsHooks {
		ctx = gate{ctx, &r.open}
	}
	send := r.req.WithContext(ctx)
	send.Body = body
	if !r.shares {
		address := *r.req.URL
		send.URL, send.Header = &address, r.req.Header.Clone()
	}
	r.running++
	r.cancels = append(r.cancels, cancel)
	go r.attempt(len(r.cancels), send)
}

func (r *race) attempt(n int, send *http.Request) {
	h := heat{n: n, exited: true}
	defer func() {
		if v := recover(); v != nil {
			h.panicked, h.exited = v, false
		}
		r.done <- h
	}()
	h.resp, h.err = r.next.RoundTrip(send)
	h.exited = false
}

// end gives the caller what the winner brought, and the losers their leave.
func (r *race) end(winner heat) (*http.Response, error) {
	for i, cancel := range r.cancels {
		if i+1 == winner.n && winner.resp != nil {
			rt.OnBodyEnd(winner.resp, nil, release(cancel))
		} else {
			cancel()
		}
	}
	if r.rethrows {
		r.dropLosers(func(v any) { winner.panicked = v })
	} else if r.running > 0 {
		go r.dropLosers(func(any) {})
	}
	switch {
	case winner.panicked != nil:
		panic(winner.panicked)
	case winner.exited:
		runtime.Goexit()
	}
	return winner.resp, winner.err
}

func (r *race) dropLosers(late func(v any)) {
	for ; r.running > 0; r.running-- {
		h := <-r.done
		if h.drop(); h.panicked != nil {
			late(h.panicked)
		}
	}
}

// release cancels an attempt when its response body has ended.
type release context.CancelFunc

func (r release) BodyEnd(error) { r() }

// gate is a context whose trace hooks can be shut off.
type gate struct {
	context.Context

	open *atomic.Bool
}

func (g gate) Value(key any) any {
	value := g.Context.Value(key)
	trace, ok := value.(*httptrace.ClientTrace)
	if !ok || trace.GotConn == nil {
		return value
	}
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if g.open.Load() {
			trace.GotConn(info)
		}
	}}
}
