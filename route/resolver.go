package route

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Resolver finds the hosts of a service, until ctx ends. It calls update whenever it
// has found them: with all of them, or with an error, after which the Pool goes on
// with those that it has. It may call update with what it has called it with before.
type Resolver func(ctx context.Context, update func(hosts []Host, err error))

// resolve runs the Resolver. One that panics or returns is started again: a service
// whose hosts are not followed any more is lost in the end.
func (p *Pool) resolve() {
	for {
		err := p.resolveOnce()
		if p.ctx.Err() != nil {
			return
		}
		p.update(nil, err)
		if sleep(p.ctx, jittered(time.Second)) != nil {
			return
		}
	}
}

func (p *Pool) resolveOnce() (err error) {
	err = errGone
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("the resolver panicked: %v", value)
		}
	}()
	p.cfg.Resolver(p.ctx, p.update)
	return err
}

// jittered is d, give or take a fifth.
func jittered(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}

// sleep waits for d, or returns why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
