package cachetest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

func herdRows() []Row {
	const apart = "200 ms, none shared"
	return []Row{
		{
			Name: "100 cold GETs of 300 ms: origin requests", Ideal: "1",
			probe: coldHerd,
		},
		{
			Name: "50 private GETs of 200 ms, with a cookie: slowest", Ideal: apart,
			probe: privateHerd("own/cookie", "Cookie", false),
		},
		{
			Name: "the same, with Authorization", Ideal: apart,
			probe: privateHerd("own/auth", "Authorization", false),
		},
		{
			Name: "the same, with neither, after one answer", Ideal: apart,
			probe: privateHerd("own/second", "", true),
		},
		{
			Name: "the same, with neither, cold", Ideal: apart, Open: true,
			probe: privateHerd("own/first", "", false),
		},
		{
			Name: "100 GETs of an old answer", Ideal: "100 old within 5 ms, 1 refresh, then v2",
			prepare: fill("swr"), probe: oldHerd,
		},
	}
}

func coldHerd(ctx context.Context, s *Stand) (verdict, error) {
	const clients = 100
	path := s.path("cold")
	answers, err := s.herd(ctx, s.Address, path, alike(clients))
	if err != nil {
		return verdict{}, err
	}
	n := s.seen(path)
	return verdict{
		found: fmt.Sprintf("%d (slowest %s)", n, millis(slowest(answers))),
		met:   n == 1 && bodies(answers)["v1"] == clients,
	}, nil
}

// privateHerd asks for what is each one's own, and says so by a field of the request or
// not at all. Warm is with one answer before, from which a cache can learn.
func privateHerd(kind, field string, warm bool) func(context.Context, *Stand) (verdict, error) {
	return func(ctx context.Context, s *Stand) (verdict, error) {
		const clients, limit = 50, 250 * time.Millisecond
		path := s.path(kind)
		if warm {
			if _, err := s.get(ctx, path, asking{}); err != nil {
				return verdict{}, err
			}
		}
		all := alike(clients)
		for i := range all {
			if field != "" {
				all[i] = all[i].with(field, "user="+strconv.Itoa(i))
			}
		}
		answers, err := s.herd(ctx, s.Address, path, all)
		if err != nil {
			return verdict{}, err
		}
		bare, err := s.herd(ctx, s.Bare, path+"/bare", all)
		if err != nil {
			return verdict{}, err
		}
		v := verdict{found: millis(slowest(answers)), met: true}
		v.late = slowest(answers) > max(limit, slowest(bare)*3/2) // a cache or proxy works, too
		if n := len(bodies(answers)); n < clients {
			v.found, v.met = fmt.Sprintf("%s, %d bodies for %d", v.found, n, clients), false
		}
		return v, nil
	}
}

// oldHerd asks for what is within its stale-while-revalidate.
func oldHerd(ctx context.Context, s *Stand) (verdict, error) {
	const clients, limit = 100, 5 * time.Millisecond
	path := s.path("swr")
	answers, err := s.herd(ctx, s.Address, path, alike(clients))
	if err != nil {
		return verdict{}, err
	}
	refreshes, next, err := s.refreshed(ctx, path)
	if err != nil {
		return verdict{}, err
	}
	bare, err := s.herd(ctx, s.Bare, "/warm/", alike(clients))
	if err != nil {
		return verdict{}, err
	}
	same, newer := bodies(answers)["v1"], bodies(answers)["v2"]
	return verdict{
		found: fmt.Sprintf("%d old, p50 %s, slowest %s, %d refresh, then %s",
			same, millis(middle(answers)), millis(slowest(answers)), refreshes, next.body),
		met: same+newer == clients && refreshes == 1 && next.body == "v2",
		// Who has waited for the refresh gets what is newer, and so does who came after it: on a
		// machine that stands still meanwhile nobody could tell. A proxy does the work of four on
		// a busy one.
		late: newer > 0 || slowest(answers) > max(limit, 4*slowest(bare)),
	}, nil
}

// refreshed asks until there is an answer that is not the first, or it is too late for
// one, and returns how many refreshes there were before that.
func (s *Stand) refreshed(ctx context.Context, path string) (refreshes int, next answer, err error) {
	for begun := time.Now(); err == nil && time.Since(begun) < s.patience(); {
		pause(ctx, slow*3/2)
		refreshes = s.seen(path) - 1
		if next, err = s.get(ctx, path, asking{}); next.body != "v1" {
			break
		}
	}
	return refreshes, next, err
}

// firstByte asks for what comes in two halves, a second apart. It asks again where both came
// together: the machine may have stood still, but a cache that holds back does so each time.
func firstByte(ctx context.Context, s *Stand) (verdict, error) {
	const atOnce, tries, body = 100 * time.Millisecond, 3, "firstlast"
	var v verdict
	for try := range tries {
		a, err := s.get(ctx, s.path("stream")+"/"+strconv.Itoa(try), asking{})
		if err != nil {
			return verdict{}, err
		}
		v = verdict{found: millis(a.first), met: a.body == body && a.first < a.took/2, late: a.first > atOnce}
		if v.met || a.body != body {
			break
		}
	}
	return v, nil
}

// errorsInARow asks for what fails, one after the other. Once a second has passed, which takes
// a machine that stands still, a cache may well try again.
func errorsInARow(ctx context.Context, s *Stand) (verdict, error) {
	path, good, begun := s.path("bad"), 0, time.Now()
	for range 20 {
		a, err := s.get(ctx, path, asking{})
		if err != nil {
			return verdict{}, err
		}
		if a.status < http.StatusInternalServerError {
			good++
		}
	}
	n, most := s.seen(path), 2+int(time.Since(begun)/time.Second)
	return verdict{found: strconv.Itoa(n), met: n <= most && good == 0}, nil
}
