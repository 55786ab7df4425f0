package cachetest

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

func staleRows() []Row {
	const ideal = "old, at once"
	return []Row{
		{
			Name: "an old answer, and the origin says 503", Ideal: ideal,
			prepare: fill("old/503"), probe: whileFailing("old/503", unavailable),
		},
		{
			Name: "the same, it closes the connection", Ideal: ideal,
			outside: true, prepare: fill("old/closed"), probe: whileFailing("old/closed", closed),
		},
		{
			Name: "the same, it hangs", Ideal: "old, soon",
			prepare: fill("old/hanging"), probe: whileFailing("old/hanging", hanging),
		},
		{Name: "20 errors in a row: origin requests", Ideal: "2 at most", probe: errorsInARow},
		{Name: "a miss that comes in two halves: first byte", Ideal: "at once", probe: firstByte},
	}
}

// whileFailing asks for what is old once the origin fails.
func whileFailing(kind string, how failing) func(context.Context, *Stand) (verdict, error) {
	return func(ctx context.Context, s *Stand) (verdict, error) {
		path := s.path(kind)
		s.Origin.fail(path, how)
		begun := time.Now()
		a, err := s.get(ctx, path, asking{})
		switch {
		case err != nil && time.Since(begun) >= s.patience():
			return verdict{found: fmt.Sprintf("none within %v", s.patience())}, nil
		case err != nil:
			return verdict{}, err
		case a.status != http.StatusOK || a.body != "v1":
			return verdict{found: fmt.Sprintf("%d after %s", a.status, millis(a.took))}, nil
		}
		return verdict{found: "old, " + millis(a.took), met: true, late: a.took > s.Soon}, nil
	}
}
