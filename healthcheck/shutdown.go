package healthcheck

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/failsoft/failsoft/internal/rw"
)

// HealthHeader is the header by which InBand tells clients how the service is: pass,
// warn or drain.
const HealthHeader = "X-Health"

// The values of HealthHeader as they are sent.
//
//nolint:gochecknoglobals // constants, but for the language
var (
	inBandPass  = []string{"pass"}
	inBandWarn  = []string{"warn"}
	inBandDrain = []string{"drain"}
	hangUp      = []string{"close"}
)

// InBand is a middleware that tells clients with every response how the service is,
// by HealthHeader: they know sooner than any probe of theirs. While the service
// drains each response also says Connection: close, which is GOAWAY over HTTP/2:
// clients go elsewhere with their next request, and no connection is closed under
// one that is on its way. Put it around everything, the endpoints too.
func (c *Checker) InBand(next http.Handler) http.Handler {
	hooks := rw.Hooks{Header: func(_ int, h http.Header) { c.inBand(h) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrapped, seen := rw.Wrap(w, hooks)
		next.ServeHTTP(wrapped, r)
		if seen.Status() == 0 && !seen.Hijacked() {
			c.inBand(w.Header()) // nothing was written: the server is about to
		}
	})
}

// inBand says how the service is when a response goes out, which may be long after
// its request came in. What a service behind this one has said of itself is replaced.
func (c *Checker) inBand(h http.Header) {
	switch {
	case c.draining.Load():
		h[HealthHeader] = inBandDrain
		h["Connection"] = hangUp
	case c.Status(Ready) == Pass:
		h[HealthHeader] = inBandPass
	default:
		h[HealthHeader] = inBandWarn
	}
}

// Drain says that no new work is wanted: Ready fails from now on, and so do groups of
// your own, whatever hands have set; and InBand says so. It cannot be taken back.
func (c *Checker) Drain() {
	if c.draining.Swap(true) {
		return
	}
	close(c.drained)
	c.mu.Lock()
	groups := make([]*group, 0, len(c.groups))
	for _, g := range c.groups {
		groups = append(groups, g)
	}
	c.mu.Unlock()
	for _, g := range groups {
		g.refresh(c.now())
	}
	c.tell(Event{Kind: Draining})
}

// Stopping returns a channel that is closed when Shutdown begins to close the
// server: what would not end by itself, streams and connections that were taken over,
// is to end then. http.Server waits for the first and not for the second.
func (c *Checker) Stopping() <-chan struct{} { return c.stopping }

// Shutdown ends a service in order: readiness fails and clients are told to go
// elsewhere, while requests are served for delay, until balancers have noticed; the
// server is shut down; probes end; then closers are called, one after the other, to
// close what the service depends on. Liveness stays as it is throughout. srv may be
// nil.
//
// ctx bounds it: when it ends, the server's connections are closed, and closers are
// to give up. Choose its deadline well above delay, and below what the platform grants
// (terminationGracePeriodSeconds in Kubernetes), which begins to count earlier. A
// second call returns ErrClosed.
func (c *Checker) Shutdown(
	ctx context.Context, srv *http.Server, delay time.Duration, closers ...func(context.Context) error,
) error {
	if c.shutdown.Swap(true) {
		return ErrClosed
	}
	c.Drain()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	close(c.stopping)
	var errs []error
	if srv != nil {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, err, srv.Close())
		}
	}
	if err := c.Close(ctx); !errors.Is(err, ErrNotStarted) && !errors.Is(err, ErrClosed) {
		errs = append(errs, err)
	}
	for _, closer := range closers {
		errs = append(errs, call(ctx, closer))
	}
	return errors.Join(errs...)
}

// call calls a closer; one that panics must not keep the others from being called.
func call(ctx context.Context, closer func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return closer(ctx)
}
