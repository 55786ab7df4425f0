package stale

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// guard stands between the Cache and its Store: what fails, panics or takes too
// long there is a miss here.
type guard struct {
	Store

	local   bool // the default Store, which does none of this
	timeout time.Duration
	c       *Cache
	stuck   atomic.Int64 // calls that are not back yet
}

// maxStuck is how many calls may wait for a Store that does not heed its context,
// before no more are made.
const maxStuck = 1000

var (
	errStoreSlow  = errors.New("stale: the store is too slow")
	errStoreStuck = errors.New("stale: the store is stuck")
)

// find returns the entry of key, or nil, and tells nobody of trouble.
func (g *guard) find(ctx context.Context, key Key) (*Entry, error) {
	if g.local {
		return g.Get(ctx, key)
	}
	return bounded(ctx, g, func(ctx context.Context) (*Entry, error) { return g.Get(ctx, key) })
}

// get returns the entry of key, or nil.
func (g *guard) get(ctx context.Context, key Key) *Entry {
	e, err := g.find(ctx, key)
	if err != nil {
		if !g.local { // which fails by the client's end only
			g.trouble(ctx, "get", key, err)
		}
		return nil
	}
	return e
}

// epoch returns the present epoch, if the Store knows it.
func (g *guard) epoch(ctx context.Context) (Epoch, bool) {
	at, err := bounded(ctx, g, g.Epoch)
	if err != nil {
		g.trouble(ctx, "epoch", Key{}, err)
	}
	return at, err == nil
}

// put stores an entry, and tells nobody of trouble.
func (g *guard) put(ctx context.Context, key Key, e *Entry, at Epoch) error {
	_, err := bounded(ctx, g, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.Set(ctx, key, e, at)
	})
	return err
}

// set stores an entry, unless it has been purged since.
func (g *guard) set(ctx context.Context, key Key, e *Entry, at Epoch) {
	if err := g.put(ctx, key, e, at); err != nil && !errors.Is(err, ErrPurged) {
		g.trouble(ctx, "set", key, err)
	}
}

// lease reports whether this process is the one to refresh key.
func (g *guard) lease(ctx context.Context, key Key, d time.Duration) bool {
	leaser, ok := g.Store.(Leaser)
	if !ok {
		return true
	}
	mine, err := bounded(ctx, g, func(ctx context.Context) (bool, error) { return leaser.Lease(ctx, key, d) })
	if err != nil {
		g.trouble(ctx, "lease", key, err)
		return true // better twice than never
	}
	return mine
}

func (g *guard) trouble(ctx context.Context, what string, key Key, err error) {
	g.c.counts.storeErrors.Add(1)
	g.c.tell(ctx, Event{Kind: StoreFailed, Key: key.Primary, Err: fmt.Errorf("stale: %s: %w", what, err)})
}

// bounded makes a call of the Store that is over in time, whatever the Store does.
func bounded[T any](ctx context.Context, g *guard, do func(context.Context) (T, error)) (T, error) {
	if g.local {
		return do(ctx)
	}
	return limited(ctx, g, g.timeout, do)
}

func limited[T any](
	ctx context.Context, g *guard, limit time.Duration, do func(context.Context) (T, error),
) (T, error) {
	var none T
	if g.stuck.Add(1) > maxStuck {
		g.stuck.Add(-1)
		return none, errStoreStuck
	}
	// The client's end is no reason to store nothing, nor to call the Store slow.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, errStoreSlow)
	type result struct {
		value T
		err   error
	}
	back := make(chan result, 1)
	go func() {
		defer g.stuck.Add(-1)
		defer cancel()
		res := result{err: errStoreStuck} // stands if the goroutine ends in there
		defer func() {
			if value := recover(); value != nil {
				res.err = crashOf(value).err()
			}
			back <- res
		}()
		res.value, res.err = do(ctx)
	}()
	select {
	case res := <-back:
		return res.value, res.err
	case <-ctx.Done():
		select {
		case res := <-back: // done, and canceled by that
			return res.value, res.err
		default:
			return none, errStoreSlow
		}
	}
}
