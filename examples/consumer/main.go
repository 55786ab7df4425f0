// Command consumer works off a queue of NATS JetStream and keeps up with what it calls:
//
//	nats-server -a 127.0.0.1 -js -sd /tmp/nats
//	go run -C examples/consumer . -demo 10000
//
// It pulls a message only when it has a place to work on it, lets the broker wait
// before it tries again, and puts aside what cannot be mended. To copy: consumer.go,
// which pulls, and settle.go, which says what becomes of a message; post.go is to be
// replaced by the work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/failsoft/failsoft/backpressure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, os.Args[1:], os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type config struct {
	policy

	nats, to string
	demo     int
	ackWait  time.Duration
}

func readConfig(args []string, errs io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&cfg.nats, "nats", nats.DefaultURL, "the broker")
	flags.StringVar(&cfg.to, "to", "", "where each order is sent with POST")
	flags.IntVar(&cfg.demo, "demo", 0, "queue so many orders for a warehouse that has a bad day")
	flags.DurationVar(&cfg.ackWait, "ack-wait", 30*time.Second, "after which somebody else gets a lost message")
	flags.IntVar(&cfg.attempts, "attempts", 5, "deliveries of a message before it is a dead letter")
	flags.DurationVar(&cfg.delay, "delay", time.Second, "before the second attempt, doubled each time")
	flags.DurationVar(&cfg.maxDelay, "max-delay", 5*time.Minute, "the longest such delay")
	flags.DurationVar(&cfg.timeout, "timeout", 20*time.Second, "for the work on a message")
	flags.DurationVar(&cfg.grace, "grace", 20*time.Second, "for what is under way on SIGTERM")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("what is %q for?", flags.Arg(0))
	case (cfg.to == "") == (cfg.demo == 0):
		return cfg, errors.New("say -to URL, or -demo N")
	case cfg.attempts < 1 || cfg.demo < 0:
		return cfg, errors.New("-attempts is less than 1, or -demo less than 0")
	case min(cfg.delay, cfg.maxDelay, cfg.timeout, cfg.grace) <= 0 || cfg.ackWait < time.Second:
		return cfg, errors.New("-ack-wait is less than a second, or another duration not positive")
	}
	return cfg, nil
}

// run consumes until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := readConfig(args, out)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(out, nil))
	conn, err := nats.Connect(cfg.nats, nats.Name(worker), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	queue, err := streams(ctx, js, cfg.ackWait)
	if err != nil {
		return err
	}
	end, err := demo(ctx, js, &cfg)
	if err != nil {
		return err
	}
	defer end()
	limiter, err := newLimiter(logger)
	if err != nil {
		return err
	}
	c := &consumer{
		queue: queue, js: js, limiter: limiter,
		handle: poster(cfg.to), policy: cfg.policy, logger: logger,
	}
	reporting, stop := context.WithCancel(ctx)
	defer stop()
	var reporter sync.WaitGroup
	reporter.Go(func() { c.report(reporting) })
	err = errors.Join(c.run(ctx), conn.FlushTimeout(5*time.Second)) // the last word on each message
	stop()
	reporter.Wait()
	logger.InfoContext(ctx, "stopped", "here", c.held.Load(), "done", c.done.Load(), "retried", c.retried.Load(),
		"dead", c.dead.Load(), "returned", c.returned.Load())
	return err
}

// newLimiter finds how many messages may be worked on at a time by what that does to
// their latency.
func newLimiter(logger *slog.Logger) (*backpressure.Limiter, error) {
	return backpressure.New(backpressure.Config{
		JudgeError: judge,
		Observe: func(ctx context.Context, e backpressure.Event) {
			if e.Kind == backpressure.LimitChanged {
				logger.LogAttrs(ctx, slog.LevelDebug, "limit", slog.Any("event", e))
			}
		},
	})
}

// limit is how it stands with the limit of this consumer.
func (c *consumer) limit() (key backpressure.KeySnapshot) {
	for _, key = range c.limiter.Snapshot().Keys {
		if key.Key == c.key {
			return key
		}
	}
	return backpressure.KeySnapshot{} // nothing has been let in yet
}

// report says once a second how it goes.
func (c *consumer) report(ctx context.Context) {
	var before int64
	for pause(ctx, time.Second); ctx.Err() == nil; pause(ctx, time.Second) {
		info, err := c.queue.Info(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.logger.WarnContext(ctx, "cannot ask the broker", "error", err)
			continue
		}
		key, held, done := c.limit(), c.held.Load(), c.done.Load()
		c.logger.InfoContext(ctx, "working", "limit", key.Limit, "here", held, "done", done-before,
			"left", info.NumPending, "later", max(int64(info.NumAckPending)-held, 0), "dead", c.dead.Load(),
			"latency", key.Latency.Round(time.Millisecond))
		before = done
	}
}
