package cachetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

func userRows() []Row {
	return []Row{
		{Name: "Set-Cookie goes to others, too", Ideal: "no", probe: othersCookie},
		{Name: "an answer to Authorization goes to others, too", Ideal: "no", probe: othersAnswer},
		{Name: "one path of two hosts", Ideal: "two answers", probe: twoHosts},
		{Name: "X-Forwarded-Host changes what others get", Ideal: "no", probe: poison},
		{Name: "2 variants, 3 GETs each: origin requests", Ideal: "2", probe: variants},
		{Name: "a range of what is stored", Ideal: "206, no origin request", probe: ranged},
		{Name: "trailers, of a miss and of a hit", Ideal: "the same", probe: trailers},
		{Name: "POST invalidates", Ideal: "yes", probe: post},
	}
}

// pair asks twice for a path.
func (s *Stand) pair(ctx context.Context, path string, first, second asking) (a, b answer, err error) {
	if a, err = s.get(ctx, path, first); err == nil {
		b, err = s.get(ctx, path, second)
	}
	return a, b, err
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func othersCookie(ctx context.Context, s *Stand) (verdict, error) {
	a, b, err := s.pair(ctx, s.path("cookie"), asking{}, asking{})
	if err != nil {
		return verdict{}, err
	}
	cookie := a.header.Get("Set-Cookie")
	leaks := b.header.Get("Set-Cookie") == cookie
	return verdict{found: yes(leaks), met: !leaks && cookie != ""}, nil
}

func othersAnswer(ctx context.Context, s *Stand) (verdict, error) {
	const mine = "Bearer mine"
	a, b, err := s.pair(ctx, s.path("user"), asking{}.with("Authorization", mine), asking{})
	if err != nil {
		return verdict{}, err
	}
	leaks := b.body == mine
	return verdict{found: yes(leaks), met: !leaks && a.body == mine}, nil
}

func twoHosts(ctx context.Context, s *Stand) (verdict, error) {
	a, b, err := s.pair(ctx, s.path("host"), asking{host: "a.test"}, asking{host: "b.test"})
	if err != nil {
		return verdict{}, err
	}
	switch {
	case a.body == "a.test" && b.body == "b.test":
		return verdict{found: "two answers", met: true}, nil
	case a.body == "a.test":
		return verdict{found: "one answer"}, nil
	default:
		return verdict{found: "the origin sees one host"}, nil
	}
}

func poison(ctx context.Context, s *Stand) (verdict, error) {
	const evil = "evil.test"
	a, b, err := s.pair(ctx, s.path("echo"), asking{}.with("X-Forwarded-Host", evil), asking{})
	if err != nil {
		return verdict{}, err
	}
	poisoned := b.body == evil
	return verdict{found: yes(poisoned), met: !poisoned && a.body == evil}, nil
}

func variants(ctx context.Context, s *Stand) (verdict, error) {
	path, right := s.path("vary"), true
	for range 3 {
		for _, language := range []string{"de", "en"} {
			a, err := s.get(ctx, path, asking{}.with("Accept-Language", language))
			if err != nil {
				return verdict{}, err
			}
			right = right && a.body == language
		}
	}
	n := s.seen(path)
	if !right {
		return verdict{found: "the wrong one"}, nil
	}
	return verdict{found: strconv.Itoa(n), met: n == 2}, nil
}

// ranged asks again where the origin was asked: an answer that its client has read may
// be stored a moment later.
func ranged(ctx context.Context, s *Stand) (v verdict, err error) {
	path, part := s.path("whole"), asking{}.with("Range", "bytes=5-14")
	if _, err = s.get(ctx, path, asking{}); err != nil {
		return v, err
	}
	for try := 0; try < 5 && !v.met; try++ {
		pause(ctx, time.Duration(try)*50*time.Millisecond)
		before := s.seen(path)
		b, err := s.get(ctx, path, part)
		if err != nil {
			return v, err
		}
		n := s.seen(path) - before
		v.found = fmt.Sprintf("%d, %d origin requests", b.status, n)
		v.met = b.status == http.StatusPartialContent && b.body == "5678901234" && n == 0
	}
	return v, nil
}

func trailers(ctx context.Context, s *Stand) (verdict, error) {
	a, b, err := s.pair(ctx, s.path("trailer"), asking{}, asking{})
	if err != nil {
		return verdict{}, err
	}
	same := maps.EqualFunc(a.trailer, b.trailer, func(x, y []string) bool { return x[0] == y[0] })
	switch {
	case a.status != http.StatusOK:
		return verdict{found: strconv.Itoa(a.status)}, nil
	case same && len(a.trailer) > 0:
		return verdict{found: "kept, kept", met: true}, nil
	case same:
		return verdict{found: "dropped, dropped", met: true}, nil
	case len(b.trailer) == 0:
		return verdict{found: "kept, dropped"}, nil
	default:
		return verdict{found: "they differ"}, nil
	}
}

func post(ctx context.Context, s *Stand) (verdict, error) {
	path := s.path("edit")
	_, _, err := s.pair(ctx, path, asking{}, asking{method: http.MethodPost})
	if err != nil {
		return verdict{}, err
	}
	a, err := s.get(ctx, path, asking{})
	anew := a.body == "v2"
	return verdict{found: yes(anew), met: anew && s.Origin.Seen(http.MethodPost, path) == 1}, err
}
