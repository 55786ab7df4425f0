package route

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Resolver finds the hosts of a service, and returns when ctx ends. It calls update
// whenever it has found them: with all of them, or with an error, after which the Pool
// goes on with those that it has. It may call update with what it has called it with
// before, from any goroutine, but not after it has returned: that is not heard. One that
// returns early, or panics, is started again, a second later, and then up to 30 s.
//
// While no hosts are known, requests wait for the first call of update. If that is
// with an error, they are refused with it.
type Resolver func(ctx context.Context, update func(hosts []Host, err error))

// How long after a failure something is tried again: twice as long with each, up to
// the longest.
const (
	firstWait   = time.Second
	longestWait = 30 * time.Second
)

// resolve runs the Resolver. One that panics or returns is started again: a service
// whose hosts are not followed any more is lost in the end.
func (p *Pool) resolve() {
	for failures := 1; ; failures++ {
		begun := time.Now()
		err := p.resolveOnce()
		if p.ctx.Err() != nil {
			return
		}
		p.update(nil, err)
		if time.Since(begun) > longestWait {
			failures = 1
		}
		if sleep(p.ctx, jittered(backoff(failures, longestWait))) != nil {
			return
		}
	}
}

// resolveOnce runs the Resolver on a goroutine of its own, which is all that one that
// calls runtime.Goexit ends.
func (p *Pool) resolveOnce() error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel() // for what it has left behind, which is not heard any more
	update := func(hosts []Host, err error) {
		if ctx.Err() == nil {
			p.update(hosts, err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		err := errGone
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("the resolver panicked: %v", value)
			}
			ended <- err
		}()
		p.cfg.Resolver(ctx, update)
	}()
	return <-ended
}

// update takes what the Resolver, or the Config, says. Hosts that stay keep what is
// known of them.
func (p *Pool) update(hosts []Host, err error) {
	defer p.deliver()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var members []member
	if err == nil {
		if members, err = readHosts(hosts); err != nil {
			err = prefixed("route: Resolver", err)
		}
	}
	if err != nil {
		p.refused = err
		p.answer()
		p.events.Put(Event{Kind: ResolveFailed, Err: err})
		return
	}
	now := p.now()
	latency := p.typical()
	order := make([]string, 0, len(members))
	standings := make(map[string]*standing, len(members))
	for _, m := range members {
		s := p.standings[m.addr]
		if s == nil || s.scheme != m.scheme {
			s = &standing{member: m}
			s.since.Store(now)
			s.latency.Store(math.Float64bits(latency))
			s.heard.Store(now)
			p.events.Put(Event{Kind: Added, Addr: m.addr})
		}
		s.weight, s.zone, s.role = m.weight, m.zone, m.role
		standings[m.addr] = s
		order = append(order, m.addr)
	}
	for _, addr := range p.order {
		if standings[addr] == nil {
			p.events.Put(Event{Kind: Removed, Addr: addr})
		}
	}
	p.standings, p.order = standings, order
	p.renew(now)
}

// typical returns the mean latency of the hosts of which one is known: what a new host
// is taken for. It needs the lock.
func (p *Pool) typical() (latency float64) {
	hosts := 0
	for _, s := range p.standings {
		if l := math.Float64frombits(s.latency.Load()); l > 0 {
			latency += l
			hosts++
		}
	}
	return latency / float64(max(hosts, 1))
}

// answer ends the waiting for the first hosts. It needs the lock.
func (p *Pool) answer() {
	select {
	case <-p.answered:
	default:
		close(p.answered)
	}
}

// noHosts is why there is none.
func (p *Pool) noHosts() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrNoHosts, p.refused)
}

// backoff is how long to wait after so many failures in a row.
func backoff(failures int, longest time.Duration) time.Duration {
	d := firstWait
	for i := 1; i < failures && d < longest; i++ {
		d *= 2
	}
	return min(d, longest)
}

// jittered is d, give or take a fifth.
func jittered(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}

// sleep waits for d, or returns why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
