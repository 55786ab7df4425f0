package breaker

import "context"

// probe runs Config.Probe in the place of a caller's request. The circuit is
// locked.
func (b *Breaker) probe(c *circuit, now int64, rules *Rules) {
	c.probing = c.epoch
	f := c.start(now, rules, refuseAndProbe)
	ctx, cancel := context.WithTimeout(context.Background(), rules.ProbeTimeout)
	call := Call{b: b, c: c, f: f, gen: f.gen, begun: now, ctx: ctx}
	go func() {
		defer cancel()
		err := errPanicked
		defer func() { // also if Probe panics, or ends its goroutine
			_ = recover()
			b.probed(call, err)
		}()
		err = b.cfg.Probe(ctx, c.key)
	}()
}

// probed takes the result of Config.Probe.
func (b *Breaker) probed(call Call, err error) {
	call.c.mu.Lock()
	call.c.probing = 0
	call.c.mu.Unlock()
	if err == nil {
		call.DoneAs(Success)
	} else {
		call.end(result{outcome: Failure, err: err})
	}
}
