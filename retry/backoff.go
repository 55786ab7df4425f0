package retry

import (
	"fmt"
	"time"
)

// Jitter is how a wait is drawn, so that clients that failed together do not
// come back together.
type Jitter uint8

// The kinds of jitter.
const (
	// FullJitter draws the wait before attempt n+1 evenly from 0 to
	// min(MaxDelay, BaseDelay × 2^(n−1)). It spreads best for its total wait.
	FullJitter Jitter = iota

	// DecorrelatedJitter draws it evenly from BaseDelay to three times the wait
	// before, at most MaxDelay. It never comes back at once, and grows faster.
	DecorrelatedJitter
)

// String returns the jitter's name.
func (j Jitter) String() string { return name(j, "full", "decorrelated") }

// MarshalText makes a Jitter readable in JSON.
func (j Jitter) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// UnmarshalText reads a Jitter by its name.
func (j *Jitter) UnmarshalText(text []byte) error {
	for _, known := range []Jitter{FullJitter, DecorrelatedJitter} {
		if string(text) == known.String() {
			*j = known
			return nil
		}
	}
	return fmt.Errorf("retry: jitter %q is neither %v nor %v", text, FullJitter, DecorrelatedJitter)
}

// delay is the wait after the n-th attempt, for u in [0,1). previous is the wait
// before that attempt. Both kinds of jitter are described by M. Brooker,
// "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
func (cfg *Config) delay(n int, previous time.Duration, u float64) time.Duration {
	if cfg.BaseDelay == Immediately {
		return 0
	}
	if cfg.Jitter == DecorrelatedJitter {
		ceiling := 3 * float64(max(previous, cfg.BaseDelay))
		drawn := float64(cfg.BaseDelay) + u*(ceiling-float64(cfg.BaseDelay))
		return time.Duration(min(drawn, float64(cfg.MaxDelay)))
	}
	return time.Duration(u * float64(cfg.ceiling(n)))
}

// ceiling is min(MaxDelay, BaseDelay × 2^(n−1)), without overflow.
func (cfg *Config) ceiling(n int) time.Duration {
	if cfg.BaseDelay == Immediately {
		return 0
	}
	ceiling := cfg.BaseDelay
	for ; n > 1 && ceiling < cfg.MaxDelay; n-- {
		ceiling *= 2
		if ceiling <= 0 {
			return cfg.MaxDelay
		}
	}
	return min(ceiling, cfg.MaxDelay)
}

// hintedDelay is the wait after the n-th attempt where the server, or a policy
// of ours, asks for one of hint: never less than either asks, and spread over
// another backoff step or a tenth of the hint, whichever is more. Servers tell
// everybody the same whole second.
func (cfg *Config) hintedDelay(n int, previous, hint time.Duration, u, v float64) time.Duration {
	spread := max(cfg.ceiling(n), hint/10)
	return max(cfg.delay(n, previous, u), hint) + time.Duration(v*float64(spread))
}
