package healthcheck

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// launch starts a probe of a check, unless one is running: who asks then gets what
// that one finds.
func (c *Checker) launch(k *check) {
	c.mu.Lock() // against Close, which waits for what is running
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if run, ok := k.begin(c.now()); ok {
		c.probes.Go(func() { c.probe(k, run) })
	}
}

// begin notes that a probe starts, and returns its number, unless one is running, or
// has told since somebody wanted it.
func (k *check) begin(now int64) (run int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running || k.OnDemand > 0 && k.known && now < k.next {
		return 0, false
	}
	k.running, k.told, k.begun, k.over = true, false, now, make(chan struct{})
	k.run++
	return k.run, true
}

// probe runs a probe of a check in a goroutine that is this check's alone. Its
// context ends a tenth before the timeout, so that a probe that heeds it can say
// what it was waiting for. One that does not is stuck.
func (c *Checker) probe(k *check, run int) {
	ctx, cancel := context.WithTimeout(c.ctx, k.Timeout-k.Timeout/10)
	defer cancel()
	watchdog := time.AfterFunc(k.Timeout, func() { c.hang(k, run) })
	returned := false
	defer func() { // the probe panicked, which is contained, or ended its goroutine
		if !returned {
			watchdog.Stop()
			c.back(k, Result{Err: &PanicError{Value: recover(), Stack: debug.Stack()}})
		}
	}()
	res := k.Probe(ctx)
	returned = true
	watchdog.Stop()
	c.back(k, res)
}

// hang notes that a probe has not returned in time. The check fails at once: no
// further result can come before it does.
func (c *Checker) hang(k *check, run int) {
	over := k.hangs(run)
	if over == nil {
		return
	}
	now := c.now()
	k.take(Result{Status: Fail, Err: &StuckError{Check: k.name, For: k.Timeout}}, now, atOnce)
	k.tellGroups(now) // being stuck is a change by itself
	close(over)
	k.deliver()
}

// hangs marks a probe as stuck, unless it has returned. Who waits for it waits for
// what is returned.
func (k *check) hangs(run int) chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.running || k.told || k.run != run || k.c.ctx.Err() != nil {
		return nil
	}
	k.stuck = true
	k.put(Event{Kind: Stuck, Check: k.name})
	return k.over
}

// back takes what a probe has returned, and plans the next. Observers come last:
// they may take their time.
func (c *Checker) back(k *check, res Result) {
	res = res.complete()
	now := c.now()
	stuck, took, over := k.returned(res, now)
	switch {
	case c.ctx.Err() != nil:
		return // what it found is our own end
	case stuck: // what it comes back with is of a time that is over
		k.put(Event{Kind: Unstuck, Check: k.name, Elapsed: took})
		k.tellGroups(now)
	default:
		k.put(Event{Kind: Probed, Check: k.name, Found: res.Status, Err: res.Err, Elapsed: took})
		k.take(res, now, inLine)
		k.rest()
		close(over)
	}
	if k.OnDemand == 0 {
		c.schedule.add(k, k.planned())
	} else {
		k.askedAgain()
	}
	k.deliver()
}

// returned notes that a probe has returned, and when the next one is due.
func (k *check) returned(res Result, now int64) (stuck bool, took time.Duration, over chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	stuck, took, over = k.stuck, time.Duration(now-k.begun), k.over
	k.told = true
	k.running, k.stuck = !stuck && k.c.ctx.Err() == nil, false // until what it tells has been taken
	k.failing++
	if res.Status != Fail && !stuck {
		k.failing = 0
	}
	if stuck {
		k.machine.set(Fail)
		k.at = now
		k.see(now)
	}
	k.next = inStep(now, k.pause(), k.Period)
	return stuck, took, over
}

// step is what probes are planned by: ten thousand checks then share a hundred
// wake-ups per second.
const step = int64(10 * time.Millisecond)

// inStep returns when a pause is over, a little later so as to be in step with
// others, but not later than the period allows. Short periods are not worth it.
func inStep(now int64, pause, period time.Duration) int64 {
	at := now + int64(pause)
	if period < time.Second {
		return at
	}
	return min(at+step-1-(at+step-1)%step, now+int64(period))
}

// rest notes that a probe has told: the next one may start.
func (k *check) rest() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = false
}

// askedAgain has pages rendered again when the next probe on demand is due: that is
// when somebody is to find that out.
func (k *check) askedAgain() {
	at := k.planned()
	for _, g := range k.in {
		for i := range g.views {
			g.views[i].dueBy(at)
		}
	}
}

// planned returns when the next probe is due.
func (k *check) planned() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next
}

// pause returns how long to wait before the next probe. Up to a tenth of the period
// is left to chance, and after the first probe all of it, so that neither the checks
// of a service nor its instances probe in step. It needs the check's lock.
func (k *check) pause() time.Duration {
	period := k.Period
	switch {
	case k.failing > 0:
		period = min(period, period/8<<min(k.failing-1, 3))
	case k.OnDemand > 0:
		return period // who asks comes by chance already
	case k.run == 1:
		return 1 + rand.N(period)
	}
	return period - rand.N(period/10+1)
}
