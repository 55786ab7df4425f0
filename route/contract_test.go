package route_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/route"
)

// The nests with retry, hedge and breaker are tested in internal/rttest.

// itself routes every request to the host that it is for: what is left is what a Pool
// does to a request, and to what becomes of it.
type itself struct {
	next http.RoundTripper
	cfg  route.Config

	mu    sync.Mutex
	pools map[string]http.RoundTripper
}

func (s *itself) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Host == "" {
		return s.next.RoundTrip(req)
	}
	return s.of(req.URL.Host).RoundTrip(req)
}

func (s *itself) of(service string) http.RoundTripper {
	s.mu.Lock()
	defer s.mu.Unlock()
	pool := s.pools[service]
	if pool == nil {
		cfg := s.cfg
		cfg.Names, cfg.Hosts = []string{service}, []route.Host{{Addr: service}}
		pool = route.MustNew(cfg).Transport(s.next)
		s.pools[service] = pool
	}
	return pool
}

func (s *itself) CloseIdleConnections() {
	if c, ok := s.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func routed(cfg route.Config) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		cfg.TLSNameHandled = true
		return &itself{next: next, cfg: cfg, pools: make(map[string]http.RoundTripper)}
	}
}

func TestContractOfTransport(t *testing.T) {
	t.Run("routed", func(t *testing.T) { rttest.Client(t, routed(route.Config{})) })
	t.Run("foreign", func(t *testing.T) {
		rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
			return route.MustNew(route.Config{
				Names: []string{"another"}, Hosts: []route.Host{{Addr: "192.0.2.1"}},
			}).Transport(next)
		})
	})
	t.Run("refusals", func(t *testing.T) {
		rttest.Refusal(t, func(next http.RoundTripper) http.RoundTripper {
			return refusing(t, next)
		})
	})
}

// refusing is a Pool without hosts, in front of whatever is asked for.
func refusing(t *testing.T, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		pool := route.MustNew(route.Config{
			Names:    []string{req.URL.Host},
			Resolver: func(ctx context.Context, _ func([]route.Host, error)) { <-ctx.Done() },
		})
		if err := pool.Close(context.Background()); err != nil {
			t.Error(err)
		}
		return pool.Transport(next).RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
