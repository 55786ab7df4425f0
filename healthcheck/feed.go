package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
)

// feed counts what real traffic has met, in two halves of a window of two periods:
// the current one and the one before it.
type feed struct {
	half      int64 // the number of the current half
	good, bad [2]int
	well      int64 // when a call was good, or 0
}

// wellSince reports whether a call was good after a time.
func (f *feed) wellSince(t int64) bool { return f.well > 0 && f.well > t }

// add counts an outcome and returns the counts of the window.
func (f *feed) add(failed bool, now int64, period time.Duration) (good, bad int) {
	f.advance(now / int64(period))
	if failed {
		f.bad[0]++
	} else {
		f.good[0]++
		f.well = max(now, 1)
	}
	return f.good[0] + f.good[1], f.bad[0] + f.bad[1]
}

func (f *feed) advance(half int64) {
	switch {
	case half <= f.half: // calls may overtake each other
		return
	case half == f.half+1:
		f.good[1], f.bad[1] = f.good[0], f.bad[0]
	default:
		f.good[1], f.bad[1] = 0, 0
	}
	f.good[0], f.bad[0], f.half = 0, 0, half
}

// clear forgets what was counted.
func (f *feed) clear() { f.good, f.bad = [2]int{}, [2]int{} }

// Feed tells a check what a call of real traffic came to: nil, or its error. What the
// caller canceled and what a policy of ours refused counts for nothing.
//
// A check fails when at least half of the calls of the last two periods did, and at
// least Fall of them. It recovers when fewer than half of those since then do, at least
// Rise were good, and a period is over. A warning is the probe's to lift. While traffic
// tells that a check with a Period passes, it is not probed.
func (c *Checker) Feed(name string, err error) error {
	return c.feed(name, outcome.OfError(context.Background(), err), err)
}

// FeedResponse is Feed for what a client got under ctx: errors of the transport and
// 5xx are failures, 4xx say nothing.
func (c *Checker) FeedResponse(ctx context.Context, name string, resp *http.Response, err error) error {
	kind := outcome.Of(ctx, resp, err)
	if kind == outcome.ServerError {
		err = fmt.Errorf("status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return c.feed(name, kind, err)
}

func (c *Checker) feed(name string, kind outcome.Kind, err error) error {
	k, unknown := c.fed(name)
	if k == nil {
		return unknown
	}
	switch kind {
	case outcome.Canceled, outcome.Refused, outcome.ClientError, outcome.Throttled:
	case outcome.OK:
		k.hear(nil, c.now())
	default:
		if errors.Is(err, context.Canceled) {
			return nil // of the call's own context, which is not told of here
		}
		k.hear(err, c.now())
	}
	return nil
}

// Report tells a check what somebody else has found out, a breaker or a pool for
// one. It counts at once, without Fall and Rise, as they have rules of their own, and
// until there is another result: they tell of changes only.
func (c *Checker) Report(name string, res Result) error {
	k, unknown := c.fed(name)
	if k == nil {
		return unknown
	}
	k.take(res.complete(), c.now(), forGood)
	k.deliver()
	return nil
}

// Observer makes a function for the Observe field of another package's Config, by
// which its events are reports: a breaker that opens has found out that what it
// calls is down. reads says what an event tells of which check; ok is false for
// those that tell nothing.
func Observer[E any](
	c *Checker, reads func(E) (check string, res Result, ok bool),
) func(context.Context, E) {
	return func(_ context.Context, e E) {
		if check, res, ok := reads(e); ok {
			_ = c.Report(check, res) // an observer has nobody to tell of an unknown name
		}
	}
}

// fed returns the check that is fed under a name, or nil and what is wrong.
func (c *Checker) fed(name string) (*check, error) {
	if !c.started.Load() {
		return nil, ErrNotStarted
	}
	k := c.byName[name]
	if k == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	return k, nil
}

// hear counts what a call came to, and takes it as a result if it says enough.
func (k *check) hear(err error, now int64) {
	if status, says := k.listen(err, now); says {
		k.take(Result{Status: status, Err: err}, now, atOnce)
		k.deliver()
	}
}

// listen counts what a call came to and returns what traffic says now, if anything.
func (k *check) listen(err error, now int64) (s Status, says bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.age(now)
	good, bad := k.feed.add(err != nil, now, k.Period)
	switch k.machine.status {
	case Fail:
		recovered := err == nil && good >= k.Rise && good > bad && now-k.changed >= int64(k.Period)
		if recovered {
			k.feed.clear()
			return Pass, true
		}
		return Fail, err != nil
	case Unknown, Pass, Warn:
	}
	if err != nil && bad >= k.Fall && bad >= good {
		k.feed.clear() // what comes now is about its recovery
		return Fail, true
	}
	well := err == nil && (bad < k.Fall || bad < good)
	return Pass, well && k.machine.status != Warn // which is the probe's to lift
}
