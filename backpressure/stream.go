package backpressure

// This is the part of cell that is about calls whose latency means nothing, or not
// all of it.

// askStream lets a call in as one of the streams, or refuses it. Streams do not wait:
// what goes on for hours makes no place in milliseconds.
func (c *cell) askStream(req *request, now int64) admission {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return admission{reason: retired}
	}
	if !c.hasStreamLocked() {
		return c.refuseLocked(req.class, TooManyStreams, 0)
	}
	c.streams++
	c.counts.Admitted[req.class]++
	a := c.slotLocked(0, now)
	c.slots[a.slot].stream = true
	return a
}

func (c *cell) hasStreamLocked() bool { return c.cfg.MaxStreams == Off || c.streams < c.cfg.MaxStreams }

// becomeStream takes a call out of those that are limited and sampled, and into the
// streams. If these have no place left it keeps the one it has: to break it off now
// would waste what was done. It is not sampled in either case.
func (c *cell) becomeStream(at int32, gen uint32, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[at]
	if s.gen != gen || !s.held || s.stream {
		return
	}
	s.mute = true
	if !c.hasStreamLocked() {
		return
	}
	s.stream = true
	c.inFlight--
	c.streams++
	c.freedLocked(now)
}

// excuse takes time in which a call had to wait for its client out of its latency.
func (c *cell) excuse(at int32, gen uint32, blocked int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := &c.slots[at]; s.gen == gen && s.held {
		s.start += blocked
	}
}
