package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/failsoft/failsoft/backpressure"
)

// consumer pulls messages as fast as they can be worked on, and no faster: what it has
// no place for stays with the broker, where others can take it. It never gives back a
// message for want of a place; it asks for fewer.
type consumer struct {
	policy

	queue   jetstream.Consumer
	js      jetstream.JetStream // where dead letters go
	limiter *backpressure.Limiter
	key     string // of its limit, if it shares the limiter
	handle  func(ctx context.Context, msg jetstream.Msg) error
	logger  *slog.Logger

	workers sync.WaitGroup

	// Messages that are here, and the fates of those that were.
	held, done, retried, dead, returned atomic.Int64
}

// policy says how long and how often.
type policy struct {
	attempts int           // deliveries of a message before it is a dead letter
	delay    time.Duration // before the second, and twice as much before each further one
	maxDelay time.Duration
	timeout  time.Duration // of the work on a message
	grace    time.Duration // for what is under way when the program ends
}

// pullWait is how long a pull waits for messages. It also delays the end of the
// program, as what the broker has sent to a pull that is given up is nobody's until the
// ack wait is over.
const pullWait = time.Second

// Errors that end the work on a message, besides the handler's own.
var (
	errShutdown = errors.New("the program ends")
	errGone     = errors.New("the handler ended its goroutine")
	errLost     = errors.New("nobody who got it has said what became of it")
)

// run consumes until ctx ends. Then it pulls no more, finishes what is here, and gives
// back at once what takes longer than the grace.
func (c *consumer) run(ctx context.Context) error {
	work, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	err := c.pullAll(ctx, work)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.workers.Wait()
	}()
	if within(finished, c.grace) {
		return err
	}
	giveUp(errShutdown)
	if within(finished, time.Second) {
		return err
	}
	return errors.Join(err, fmt.Errorf("%d handlers do not end: the ack wait has to", c.held.Load()))
}

// pullAll pulls until ctx ends; what it has pulled is worked on under the context work.
func (c *consumer) pullAll(ctx, work context.Context) error {
	for {
		n, err := c.places(ctx)
		if err != nil {
			return nil //nolint:nilerr // it was told to stop
		}
		err = c.pull(work, n)
		switch {
		case errors.Is(err, jetstream.ErrConsumerDeleted):
			return err
		case err != nil: // the broker may be back in a moment, and the client connects by itself
			c.logger.WarnContext(ctx, "cannot pull", "error", err)
			pause(ctx, pullWait)
		}
	}
}

// places waits until there is a place to work, and returns how many there are. It gives
// back the one that it has waited for before the pull: an idle consumer would keep it
// from others.
func (c *consumer) places(ctx context.Context) (int, error) {
	permit, err := c.limiter.Await(ctx, c.request())
	if err != nil {
		return 0, err
	}
	defer permit.Done(backpressure.Ignore)
	return 1 + c.limiter.Free(c.request()), nil
}

func (c *consumer) request() backpressure.Request { return backpressure.Request{Key: c.key} }

// pull asks the broker for n messages, and has each of them worked on as it comes.
func (c *consumer) pull(work context.Context, n int) error {
	batch, err := c.queue.Fetch(n, jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		c.begin(work, msg)
	}
	return batch.Error()
}

// begin has a message worked on. It takes the place here and not in the goroutine, so
// that the next pull knows. If there is none, because the limit has fallen since the
// pull or others have been quicker, the message waits for one; it is in nobody's way.
func (c *consumer) begin(work context.Context, msg jetstream.Msg) {
	c.held.Add(1)
	permit, err := c.limiter.TryAcquire(work, c.request())
	c.workers.Go(func() {
		defer c.held.Add(-1)
		ours, release := context.WithCancel(work)
		defer release()
		go c.keep(ours, msg)
		if err != nil {
			permit, err = c.limiter.Await(work, c.request()) // where a server refuses, a consumer has the time
		}
		if err != nil {
			c.settle(work, msg, err)
			return
		}
		handling, cancel := context.WithTimeout(ours, c.timeout)
		defer cancel()
		context.AfterFunc(handling, release) // a handler that does not hear its end shall not keep the message
		c.work(work, handling, msg, permit)
	})
}

// work calls the handler and settles the message, however the handler ends. It has its
// place until the broker knows.
func (c *consumer) work(work, handling context.Context, msg jetstream.Msg, permit backpressure.Permit) {
	err := errGone
	defer func() {
		c.settle(work, msg, err)
		permit.Release(handling, err)
	}()
	if deliveries(msg) > c.attempts {
		err = poison(errLost) // it may be what the program dies of
		return
	}
	permit.Begin() // what it took to get here is no work
	err = c.call(handling, msg)
}

// call calls the handler and contains its panics: the same message would cause the same
// one again.
func (c *consumer) call(ctx context.Context, msg jetstream.Msg) (err error) {
	defer func() {
		if value := recover(); value != nil {
			c.logger.ErrorContext(ctx, "the handler panicked", "panic", value, "stack", string(debug.Stack()))
			err = poison(fmt.Errorf("panic: %v", value))
		}
	}()
	return c.handle(ctx, msg)
}

// keep tells the broker that a message is being worked on, until ctx ends, so that
// nobody else gets it.
func (c *consumer) keep(ctx context.Context, msg jetstream.Msg) {
	ticker := time.NewTicker(c.queue.CachedInfo().Config.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = msg.InProgress() // if this one is lost there are two more
		}
	}
}

// within reports whether done is closed within d.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) { within(ctx.Done(), d) }
