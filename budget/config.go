package budget

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
)

// Named values that switch a source of attempts off.
const (
	// NoRatio is a Config.Ratio by which requests pay for nothing: only the
	// floor is left.
	NoRatio float64 = -1

	// NoFloor is a Config.Floor by which nothing is free: every extra attempt
	// is paid for by requests. Right for hedges, which a client with little
	// traffic can do without. NoRatio and NoFloor together are the switch that
	// turns all extra attempts off.
	NoFloor float64 = -1
)

// The defaults of a Config.
const (
	DefaultRatio   = 0.1
	DefaultFloor   = 1.0
	DefaultTTL     = 10 * time.Second
	DefaultMaxKeys = 1024
)

// Config says how much may be spent. The zero Config is the default.
type Config struct {
	// Ratio is how much of an extra attempt each request pays for, from a
	// millionth to 1. Zero means 0.1: one extra attempt for every ten requests.
	Ratio float64

	// Floor is how many extra attempts per second a key has at least, even when
	// its requests pay for fewer. Zero means 1. A floor must give at least one
	// attempt per TTL, and at most 10,000 per second.
	Floor float64

	// TTL is how long a deposit can be spent, to a tenth of it, and how much of
	// the floor can be saved up. Zero means 10 s; from 100 ms to 1 minute.
	TTL time.Duration

	// MaxKeys bounds the number of balances. Zero means 1024. Past it, the key
	// unused for longest gives way if its window is empty; if no key's is, new
	// keys share one balance.
	MaxKeys int

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *Config) complete() error {
	cfg.Ratio = cmp.Or(cfg.Ratio, DefaultRatio)
	cfg.Floor = cmp.Or(cfg.Floor, DefaultFloor)
	cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	return cfg.validate()
}

func (cfg *Config) validate() error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("budget: Config."+format, args...))
	}
	if cfg.Ratio != NoRatio && !(cfg.Ratio >= 1.0/unit && cfg.Ratio <= 1) { // so written, NaN is wrong too
		bad("Ratio is %v, not from 1e-6 to 1 nor NoRatio", cfg.Ratio)
	}
	if cfg.TTL < 100*time.Millisecond || cfg.TTL > time.Minute {
		bad("TTL is %v, not from 100ms to 1m", cfg.TTL)
	}
	switch {
	case cfg.Floor == NoFloor:
	case !(cfg.Floor > 0 && cfg.Floor <= 10_000):
		bad("Floor is %v per second, not in (0,10000] nor NoFloor", cfg.Floor)
	case cfg.TTL > 0 && cfg.Floor*(cfg.TTL/steps*steps).Seconds() < 1:
		bad("Floor of %v per second never gives one attempt in a TTL of %v", cfg.Floor, cfg.TTL)
	}
	if cfg.MaxKeys < 1 {
		bad("MaxKeys is %d, not at least 1", cfg.MaxKeys)
	}
	return errors.Join(wrong...)
}

// terms are the Config as windows calculate with it.
func (cfg *Config) terms() terms {
	t := terms{step: int64(cfg.TTL / steps)}
	if cfg.Ratio != NoRatio {
		t.deposit = int64(math.Round(cfg.Ratio * unit))
	}
	if cfg.Floor != NoFloor {
		t.free = max(int64(float64(time.Second)/cfg.Floor), 1)
	}
	return t
}
