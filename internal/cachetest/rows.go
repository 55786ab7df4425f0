package cachetest

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Stand is a cache in front of an Origin.
type Stand struct {
	Origin  *Origin
	Bare    string        // the address of the Origin itself, for comparison
	Address string        // of the cache
	Run     string        // names what is asked for; each run has to have another
	Soon    time.Duration // by when an old answer must be there if the origin hangs
	Inside  bool          // the Origin is in the cache's process: it has no connection to close

	// Patience is how long a client waits; 0 is 3 s.
	Patience time.Duration
}

// Row is a question to a cache.
type Row struct {
	Name, Ideal string

	// Open says that ours is not as it would be ideal.
	Open bool

	outside bool                                      // it is about a connection to the origin
	prepare func(ctx context.Context, s *Stand) error // a while before, so that it gets old
	probe   func(ctx context.Context, s *Stand) (verdict, error)
}

// Finding is the answer to a Row.
type Finding struct {
	Row

	Found string
	Met   bool // Ideal was, but for the clock
	Late  bool // by the clock it was not; that may be the machine's fault
	Err   error
}

// verdict is the answer of a probe.
type verdict struct {
	found     string
	met, late bool
}

// aging is how long it takes for what was fresh for a second to be old, for caches that
// count in whole seconds, too.
const aging = 2100 * time.Millisecond

// Ask puts all Rows to a cache.
func Ask(ctx context.Context, s *Stand) []Finding {
	var findings []Finding
	for _, row := range Rows() {
		if row.outside && s.Inside {
			continue
		}
		f := Finding{Row: row}
		if row.prepare != nil {
			f.Err = row.prepare(ctx, s)
		}
		findings = append(findings, f)
	}
	pause(ctx, aging)
	for i := range findings {
		f := &findings[i]
		var v verdict
		if f.Err == nil {
			v, f.Err = f.probe(ctx, s)
		}
		if f.Found, f.Met, f.Late = v.found, v.met, v.late; f.Err != nil {
			f.Found, f.Met = "no answer", false
		}
	}
	return findings
}

// Rows returns what is asked.
func Rows() []Row {
	rows := append(herdRows(), staleRows()...)
	return append(rows, userRows()...)
}

func (s *Stand) path(kind string) string { return "/" + kind + "/" + s.Run }

func (s *Stand) seen(path string) int { return s.Origin.Seen(http.MethodGet, path) }

// fill has a path stored.
func fill(kind string) func(ctx context.Context, s *Stand) error {
	return func(ctx context.Context, s *Stand) error {
		a, err := s.get(ctx, s.path(kind), asking{})
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("cachetest: %s: status %d", kind, a.status)
		}
		return err
	}
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
}
