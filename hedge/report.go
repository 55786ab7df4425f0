package hedge

import "time"

// sent counts an attempt beyond the first, which goes out now, and tells of it.
func (r *race[R]) sent(l *lane) {
	e := Event{Kind: Sent, Attempt: l.n, Trigger: l.trigger}
	if l.trigger == Slow {
		e.Delay = r.aim.delay
	}
	r.report(e)
}

// won counts an attempt beyond the first that is the answer, and tells of it.
func (r *race[R]) won(l *lane) {
	r.cell.counts.won.Add(1)
	if l.trigger == Slow {
		r.cell.gate.hedged(true)
	}
	r.report(Event{Kind: Won, Attempt: l.n, Status: r.outcome.facts.status})
}

// lost counts an attempt beyond the first that is not, and tells of it. One that
// its caller has left does not count against hedges.
func (r *race[R]) lost(l *lane, e Event) {
	r.cell.counts.lost.Add(1)
	if l.trigger == Slow && r.Ctx.Err() == nil {
		r.cell.gate.hedged(false)
	}
	e.Kind, e.Attempt = Lost, l.n
	r.report(e)
}

// refuse counts an attempt that was not made, and tells of it.
func (r *race[R]) refuse(trigger Trigger, reason Reason) {
	r.cell.counts.refused[reason].Add(1)
	r.report(Event{Kind: Refused, Attempt: r.made() + 1, Trigger: trigger, Reason: reason})
}

// made returns how many attempts were made so far.
func (r *race[R]) made() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return 1 + len(r.hedges)
}

func (r *race[R]) report(e Event) {
	if r.cfg.Observe == nil {
		return
	}
	e.Key, e.Elapsed = r.key, time.Since(r.begun)
	r.tell(r.Ctx, e)
}
