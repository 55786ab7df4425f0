package stale

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// fate is what has become of a flight, as of its headers.
type fate uint8

const (
	landed  fate = iota + 1 // storable: on its way into the Store, and to whoever reads along
	renewed                 // a 304: the stored response holds again
	private                 // not to be shared: it is the leader's alone
	failed                  // no answer, or one that tells of trouble
)

// flight is one request to the origin. It is not its client's: who asked first
// leads it, others with the same key wait for it, and it goes on when all of them
// have left or have been answered by something older.
type flight struct {
	c     *Cache
	name  string // in Cache.flights; "" for one that nobody can join
	key   string // of the resource
	x     *call  // of who leads it; the flight's own from fly on, but for a request alongside
	begun time.Time
	epoch Epoch
	held  bool // whether epoch is known: without it, nothing can be stored

	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	answer *attempt.Answer
	gate   rt.TraceGate
	client rt.Caller // who leads it

	came      came   // of a transport's answer; known when headed is closed
	pattern   string // of a handler's mux; the same
	deadlines deadlines

	early chan interim // informational responses, for the leader

	headed chan struct{} // closed when what follows is known
	res    landing

	mu       sync.Mutex
	waits    bool // the leader does
	others   int  // who wait for the headers, or are about to read
	attached bool // the flight ends with its leader
	told     bool // the result is known
	over     bool

	again      bool    // the answer was not about what is stored: ask once more, without conditions
	events     []Event // not told yet
	background bool    // it began without anybody waiting
	inline     bool    // it is a request that the client makes for itself
	unattended bool    // it has one of the places for those that nobody waits for
}

// interim is an informational response (1xx).
type interim struct {
	status    int
	header    http.Header
	deadlines *deadlines // if set, this is no response: they have changed
}

// landing is what is known of a flight once its headers are there. It does not
// change from then on.
type landing struct {
	fate   fate
	status int
	header http.Header
	terms  policy.Terms
	at     time.Time // when the headers were there
	asked  string    // what the response varies by, as the leader asked it

	entry *Entry         // renewed
	fill  *fill          // landed; of the leader's where private or failed
	read  *reader        // the leader's
	resp  *http.Response // the leader's, where nothing stands between
	err   error          // failed without an answer
	crash *crash         // failed by a panic
	kind  outcome.Kind   // of a failure
}

// crash is the end of a goroutine by a panic or by runtime.Goexit.
type crash struct {
	value any // of the panic; nil is Goexit
	stack []byte
}

func crashOf(value any) *crash { return &crash{value: value, stack: debug.Stack()} }

func (c *crash) err() error { return &PanicError{Value: c.value, Stack: c.stack} }

// origin is what is behind the Cache: a RoundTripper or a Handler. fetch sends the
// request, on a goroutine of the flight's own, and tells the flight.
type origin interface {
	fetch(fl *flight, req *http.Request)
}

func (c *Cache) newFlight(x *call, name string) *flight {
	return &flight{c: c, name: name, key: x.key, x: x, begun: time.Now(), headed: make(chan struct{})}
}

// begin makes a flight that x leads.
func (c *Cache) begin(x *call, name string, background bool) *flight {
	fl := c.newFlight(x, name)
	fl.waits, fl.early, fl.client = !background, make(chan interim, 8), rt.CallerOf(x.req)
	ctx := fl.gate.Detach(context.WithoutCancel(x.req.Context()))
	if background {
		fl.background = true
		fl.gate.Close()
		ctx = attempt.WithBackground(ctx)
	}
	fl.ctx, fl.answer = attempt.WithAnswer(context.WithValue(ctx, flightKey{}, fl))
	fl.bound(c.cfg.FetchTimeout)
	return fl
}

// bound ends the flight when it takes too long, until attach, when its client has
// the say again.
func (fl *flight) bound(limit time.Duration) {
	ctx, cancel := context.WithCancelCause(fl.ctx)
	fl.ctx, fl.cancel = ctx, cancel
	fl.timer = time.AfterFunc(limit, fl.expire)
}

// expire ends a flight that has taken too long, unless somebody reads its answer: a
// long download is not to be cut. When the last reader has left, the time runs
// again.
func (fl *flight) expire() {
	fl.mu.Lock()
	body := fl.res.fill
	fl.mu.Unlock()
	if body == nil || !body.isRead() {
		fl.abort(errFetchTimeout)
	}
}

// abort cancels the flight, and lets nobody join it any more: what is below may
// take its time to notice.
func (fl *flight) abort(cause error) {
	fl.c.leave(fl) // first, or who waits could find it again
	fl.cancel(cause)
}

// fly makes the request. It runs on a goroutine of its own.
func (fl *flight) fly() {
	returned := false
	defer func() {
		if !returned {
			fl.crashed(recover())
		}
		fl.land()
	}()
	fl.epoch, fl.held = fl.c.store.epoch(fl.ctx)
	fl.x.whole = fl.x.validates() && !fl.x.isCurrent()
	fl.x.from.fetch(fl, fl.x.outgoing(fl.ctx))
	if fl.again {
		fl.x.from.fetch(fl, fl.x.outgoing(fl.ctx))
	}
	returned = true
}

// land makes sure that nobody waits for a flight that has come to nothing, and
// that nothing of it is left but what its leader reads.
func (fl *flight) land() {
	if !fl.known() {
		fl.fail(errNoAnswer, nil)
	}
	fl.c.landed(fl)
	if fl.res.resp == nil {
		fl.cancel(nil)
	}
	fl.mu.Lock()
	fl.over = true
	fl.timer.Stop() // for good: deserted sets it no more
	unattended := fl.unattended
	fl.mu.Unlock()
	fl.deliver()
	if unattended {
		fl.c.unattended.Add(-1)
	}
	fl.c.fetches.Done()
}

func (fl *flight) known() bool {
	select {
	case <-fl.headed:
		return true
	default:
		return false
	}
}

// crashed takes the end of the goroutine. The leader gets the panic, as it would
// have without us; where there is none to get it, it is an event.
func (fl *flight) crashed(value any) {
	down := crashOf(value)
	told := fl.known()
	switch {
	case !told:
		fl.fail(down.err(), down)
	case fl.res.fill != nil:
		fl.end(nil, down.err())
	}
	if !fl.waiting() || told && fl.res.read == nil {
		fl.c.tell(fl.ctx, Event{Kind: Panicked, Key: fl.x.key, Err: down.err()})
	}
}

// publish makes the result known. What only the leader can use is dropped where it
// has left meanwhile.
func (fl *flight) publish(res landing) {
	if res.fate != landed {
		fl.c.leave(fl) // first, or who waits could find it again
	}
	fl.mu.Lock()
	fl.res, fl.told = res, true
	close(fl.headed)
	gone := !fl.waits
	fl.mu.Unlock()
	if gone {
		fl.drop()
	}
	fl.deliver()
}
