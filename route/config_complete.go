package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *Config) complete() error {
	cfg.Decay = cmp.Or(cfg.Decay, DefaultDecay)
	cfg.SlowStart = cmp.Or(cfg.SlowStart, DefaultSlowStart)
	cfg.Consecutive = cmp.Or(cfg.Consecutive, DefaultConsecutive)
	cfg.SuccessMargin = cmp.Or(cfg.SuccessMargin, DefaultSuccessMargin)
	cfg.EjectTime = cmp.Or(cfg.EjectTime, DefaultEjectTime)
	cfg.MaxEjectTime = cmp.Or(cfg.MaxEjectTime, max(DefaultMaxEjectTime, cfg.EjectTime))
	cfg.MaxEjected = cmp.Or(cfg.MaxEjected, DefaultMaxEjected)
	cfg.PanicThreshold = cmp.Or(cfg.PanicThreshold, DefaultPanicThreshold)
	cfg.ZoneThreshold = cmp.Or(cfg.ZoneThreshold, DefaultZoneThreshold)
	cfg.DrainHeader = http.CanonicalHeaderKey(cmp.Or(cfg.DrainHeader, "X-Health"))
	cfg.DrainTime = cmp.Or(cfg.DrainTime, DefaultDrainTime)
	cfg.MaxLag = cmp.Or(cfg.MaxLag, DefaultMaxLag)
	return errors.Join(cfg.validate()...)
}

func (cfg *Config) validate() (wrong []error) {
	wrong = append(wrong, cfg.validateNames(), cfg.validateHosts(), cfg.Check.complete())
	fraction := func(field string, v float64, off bool) {
		if !(v > 0 && v <= 1 || off && v == Off) { // NaN is neither
			wrong = append(wrong, bad("Config.%s is %v, not in (0,1]", field, v))
		}
	}
	fraction("ZoneThreshold", cfg.ZoneThreshold, false)
	fraction("SuccessMargin", cfg.SuccessMargin, true)
	fraction("MaxEjected", cfg.MaxEjected, false)
	fraction("PanicThreshold", cfg.PanicThreshold, true)
	positive := func(field string, d time.Duration, off bool) {
		if d <= 0 && (!off || d != Off) {
			wrong = append(wrong, bad("Config.%s is %v, not above 0", field, d))
		}
	}
	positive("Decay", cfg.Decay, false)
	positive("SlowStart", cfg.SlowStart, true)
	positive("EjectTime", cfg.EjectTime, false)
	positive("MaxEjectTime", cfg.MaxEjectTime, false)
	positive("DrainTime", cfg.DrainTime, true)
	positive("MaxLag", cfg.MaxLag, false)
	if cfg.Consecutive < 1 && cfg.Consecutive != Off {
		wrong = append(wrong, bad("Config.Consecutive is %d, not at least 1", cfg.Consecutive))
	}
	if cfg.MaxEjectTime < cfg.EjectTime {
		wrong = append(wrong, bad("Config.MaxEjectTime is %v, below EjectTime (%v)", cfg.MaxEjectTime, cfg.EjectTime))
	}
	if cfg.NoPrimary > Refuse {
		wrong = append(wrong, bad("Config.NoPrimary is %d, neither ReadReplica nor Refuse", cfg.NoPrimary))
	}
	return wrong
}

func (cfg *Config) validateNames() error {
	if len(cfg.Names) == 0 {
		return bad("Config.Names is empty: nothing would be routed")
	}
	var wrong []error
	tell := func(format string, arg any) { wrong = append(wrong, bad("Config.Names: "+format, arg)) }
	for _, service := range cfg.Names {
		at := strings.LastIndexByte(service, '@')
		err := checkAddr(service, service)
		switch {
		case at >= 0: // which nobody is to read in a log
			tell("%q: what stands before the @ is no part of a name", service[at+1:])
		case strings.Contains(service, "://"):
			tell("%q: leave the scheme away", service)
		case err != nil:
			tell("%w", err)
		}
	}
	return errors.Join(wrong...)
}

func (cfg *Config) validateHosts() error {
	if len(cfg.Hosts) == 0 && cfg.Resolver == nil {
		return bad("Config.Hosts is empty, and there is no Resolver")
	}
	if len(cfg.Hosts) == 0 {
		return nil
	}
	if _, err := readHosts(cfg.Hosts); err != nil {
		return prefixed("route: Config.Hosts", err)
	}
	return nil
}

func bad(format string, args ...any) error { return fmt.Errorf("route: "+format, args...) }
