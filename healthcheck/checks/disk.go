package checks

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/failsoft/failsoft/healthcheck"
)

// The defaults of a Space.
const (
	DefaultSpaceWarn = 0.1
	DefaultSpaceFail = 0.05
)

// Space says how much of a file system has to be free. All that is set counts.
type Space struct {
	// Warn and Fail are the parts, in (0,1], of its space and of its inodes at which
	// the result is that. Zero means 0.1 and 0.05, or Off if there are WarnBytes or
	// FailBytes; or Off.
	Warn, Fail float64

	// WarnBytes and FailBytes are free bytes likewise. Zero means none.
	WarnBytes, FailBytes int64

	_ struct{}
}

// space is what a Space comes to.
type space struct {
	part  thresholds[float64]
	bytes thresholds[int64]
}

func (s Space) complete() (space, error) {
	warn, fail := DefaultSpaceWarn, DefaultSpaceFail
	if s.WarnBytes != 0 || s.FailBytes != 0 {
		warn, fail = Off, Off
	}
	part, err := falling("Space", s.Warn, s.Fail, warn, fail)
	bytes := thresholds[int64]{s.WarnBytes, s.FailBytes}
	err = errors.Join(err, ratios("Space", part),
		when(bytes.warn < 0 || bytes.fail < 0, "Space: %d and %d bytes are not both 0 or more", bytes.warn, bytes.fail),
		when(bytes.warn > 0 && bytes.warn < bytes.fail, "Space.WarnBytes is %d, below FailBytes, %d",
			bytes.warn, bytes.fail),
	)
	if bytes.warn == 0 {
		bytes.warn = Off
	}
	if bytes.fail == 0 {
		bytes.fail = Off
	}
	return space{part, bytes}, err
}

// volume is what a file system has, in bytes and in inodes. What only root may use
// does not count.
type volume struct {
	free, total           int64
	freeInodes, allInodes int64 // 0 where they are made as they are needed
}

// Disk returns a probe that tells what part of the file system of path is free: of
// what those who are not root may use, as df shows it. A file system that hangs, as
// over a network, makes the probe hang. Only Linux, macOS and FreeBSD are supported;
// elsewhere it fails with errors.ErrUnsupported.
func Disk(path string, limits Space) Probe {
	s, err := limits.complete()
	if err = errors.Join(when(path == "", "the path is empty"), err); err != nil {
		return misconfigured(err)
	}
	return func(context.Context) healthcheck.Result {
		v, err := statfs(path)
		if err != nil {
			return failed(fmt.Errorf("checks: disk space of %s: %w", path, err), "")
		}
		return s.judge(v)
	}
}

func (s space) judge(v volume) healthcheck.Result {
	free := part(v.free, v.total)
	status := max(s.part.atMost(free), s.bytes.atMost(v.free))
	public := percent(free) + "% of the space is free"
	if v.allInodes > 0 {
		inodes := part(v.freeInodes, v.allInodes)
		if worse := s.part.atMost(inodes); worse > status {
			status, public = worse, percent(inodes)+"% of the inodes are free"
		}
	}
	return measured(status, math.Round(free*1000)/10, "%", public)
}

// part of nothing is all of it: what has no size, as /proc, cannot be full.
func part(of, all int64) float64 {
	if all <= 0 {
		return 1
	}
	return float64(of) / float64(all)
}

func percent(part float64) string { return fmt.Sprintf("%.3g", math.Floor(part*1000)/10) }
