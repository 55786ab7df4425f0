package backpressure

// Draw has a Throttle draw the same number whenever it leaves something to chance.
func Draw(t *Throttle, n float64) { t.draw = func() float64 { return n } }
