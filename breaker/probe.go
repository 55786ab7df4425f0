package breaker

import "context"

// probe runs Config.Probe in the place of a caller's request. The circuit is
// locked.
func (b *Breaker) probe(c *circuit, now int64, rules *Rules) {
	c.probing = true
	f := c.start(now, rules, refuseAndProbe)
	ctx, cancel := context.WithTimeout(context.Background(), rules.ProbeTimeout)
	call := Call{b: b, c: c, f: f, gen: f.gen, begun: now, ctx: ctx}
	go func() {
		defer cancel()
		good := false
		defer func() { // Probe panicked, or ended its goroutine: it has not succeeded
			_ = recover()
			b.probed(call, good)
		}()
		good = b.cfg.Probe(ctx, c.key) == nil
	}()
}

// probed takes the result of Config.Probe.
func (b *Breaker) probed(call Call, good bool) {
	call.c.mu.Lock()
	call.c.probing = false
	call.c.mu.Unlock()
	if good {
		call.DoneAs(Success)
	} else {
		call.DoneAs(Failure)
	}
}
