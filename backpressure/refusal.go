package backpressure

import "time"

// issued is a refusal and when it was first handed out.
type issued struct {
	LimitedError

	at int64
}

// afterVain is when it may be worth trying again for who has waited in vain: what is
// predicted now for one that comes last, or, as the prediction before has been wrong, as
// long as it has waited.
func (c *cell) afterVain(w *waiter, now int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.turnLocked(c.waitingLocked(w.class), w.share), time.Duration(now-w.since))
}

// refusal is the error of a refusal. In an overload there are very many of them, and
// what they say changes little: one per class serves all within a millisecond. To be
// refused is to cost less than to be let in, and garbage is a cost, too.
func (c *cell) refusal(r *Request, a admission, now int64) error {
	last := &c.issued[r.Class]
	if e := last.Load(); e != nil && now-e.at < int64(time.Millisecond) && e.Refusal == a.reason && e.Key == r.Key {
		return &e.LimitedError
	}
	e := &issued{LimitedError{Key: r.Key, Class: r.Class, Refusal: a.reason, After: a.after}, now}
	last.Store(e)
	return &e.LimitedError
}
