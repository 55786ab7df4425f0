package rttest

import "time"

// HoldUps watches the machine. What it returns ends that, and says for how long nothing
// was done at most: a test that a stop of the machine decides is no news of the library.
func HoldUps() (end func() time.Duration) {
	over, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		most := time.Duration(0)
		for last := time.Now(); ; {
			select {
			case <-look.C:
				most, last = max(most, time.Since(last)), time.Now()
			case <-over:
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration { close(over); return <-longest }
}
