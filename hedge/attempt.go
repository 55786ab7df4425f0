package hedge

import "time"

// work makes attempts in a goroutine of its own, until one is the answer or none
// is to be made. A panic would end the program here: it becomes a result.
func (r *race[R]) work(l *lane) {
	attempting, returned := false, false
	defer func() {
		switch {
		case returned:
		case attempting:
			r.settle(result[R]{lane: l, crash: crashOf(recover())})
		case l.next != nil: // an observer ended this goroutine after the attempt
			go r.work(l.next)
		}
	}()
	for l != nil {
		attempting = true
		res := r.attempt(l)
		attempting = false
		l = r.settle(res)
	}
	returned = true
}

// attempt makes an attempt and judges it, if there is still somebody to be told.
func (r *race[R]) attempt(l *lane) (res result[R]) {
	var judging, judged bool
	defer func() {
		if judging && !judged && res.err == nil { // code of the user's that judges panicked
			r.door.discard(l, res.answer)
		}
	}()
	res.lane = l
	if l.n > 1 && !r.depart(l) {
		return result[R]{lane: l, err: errOvertaken} // before it was sent
	}
	res.answer, res.err = r.door.send(l)
	judging = true
	if !r.isOver() {
		res.facts, res.host = r.door.judge(l, res.answer, res.err)
		res.verdict = res.facts.verdict()
		r.learnLoad(&res)
	}
	judged = true
	return res
}

// learnLoad tells the gate of an attempt. What an impatient caller cuts off says
// nothing of the server.
func (r *race[R]) learnLoad(res *result[R]) {
	if res.verdict == accepted && !res.facts.pushesBack() && r.cell.gate.errorRate() == 0 {
		return // as nearly always: there is nothing to be told
	}
	if now := time.Now(); r.Ended(now) == nil {
		r.cell.gate.learn(&res.facts, r.since(now))
	}
}

// depart reports whether there is still a use for an attempt beyond the first,
// and if so counts it and tells of it.
func (r *race[R]) depart(l *lane) bool {
	if !r.leaves(l) {
		if l.trigger == Slow {
			r.cell.allowance.giveBack()
		}
		return false
	}
	r.sent(l)
	return !r.isOver() // for all the time that the observer took
}

// leaves notes that an attempt beyond the first is sent, unless the call is over.
func (r *race[R]) leaves(l *lane) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false // and l is left alone: who ended the call reads it
	}
	l.departed = true
	r.cell.counts.sent.Add(1) // before anybody can count what became of it
	return true
}

// isOver reports whether the call has its outcome.
func (r *race[R]) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}
