package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// poisonError is a failure that another attempt cannot mend.
type poisonError struct{ error }

func (e *poisonError) Unwrap() error { return e.error }

// poison marks an error of a handler: its message becomes a dead letter at once.
func poison(err error) error { return &poisonError{err} }

// settle tells the broker what becomes of a message. If the broker does not hear it, it
// delivers the message once more: handlers have to bear that.
func (c *consumer) settle(work context.Context, msg jetstream.Msg, err error) {
	var unheard error
	attempt := deliveries(msg)
	_, poisoned := errors.AsType[*poisonError](err)
	switch {
	case err == nil:
		c.done.Add(1)
		unheard = msg.Ack()
	case poisoned || attempt >= c.attempts && work.Err() == nil:
		unheard = c.bury(work, msg, err)
	case work.Err() != nil: // not its fault: somebody else shall have it at once
		c.returned.Add(1)
		unheard = msg.Nak()
	default:
		delay := c.backoff(attempt, err)
		c.retried.Add(1)
		c.logger.DebugContext(work, "later", "message", name(msg), "attempt", attempt, "in", delay, "error", err)
		unheard = msg.NakWithDelay(delay)
	}
	if unheard != nil {
		c.logger.WarnContext(work, "the broker was not told", "message", name(msg), "error", unheard)
	}
}

// backoff is how long to wait after an attempt. The broker waits, not a worker, so that
// nobody is held up. With jitter, as what failed together would come back together.
func (c *consumer) backoff(attempt int, err error) time.Duration {
	delay := c.delay
	for ; attempt > 1 && delay < c.maxDelay; attempt-- {
		delay *= 2
	}
	hint, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if ok {
		delay = max(delay, hint.RetryAfter())
	}
	delay = min(delay, c.maxDelay)
	return delay + rand.N(delay/2+1)
}

// The header fields of a dead letter.
const (
	deadReason   = "Dead-Reason"
	deadAttempts = "Dead-Attempts"
	deadSource   = "Dead-Source" // the message's name: stream and sequence
)

const (
	deadPrefix  = "dead." // of a dead letter's subject
	buryTimeout = 5 * time.Second
)

// bury puts a message with its reason into the stream of dead letters, and only then
// takes it out of the queue. If that does not work it comes back.
func (c *consumer) bury(work context.Context, msg jetstream.Msg, reason error) error {
	letter := nats.NewMsg(deadPrefix + msg.Subject())
	letter.Data = msg.Data()
	for field, values := range msg.Headers() {
		if !strings.HasPrefix(field, "Nats-") { // instructions to the broker, which have been carried out
			letter.Header[field] = values
		}
	}
	text := reason.Error()
	letter.Header.Set(deadReason, strings.ToValidUTF8(text[:min(len(text), 1000)], ""))
	letter.Header.Set(deadAttempts, strconv.Itoa(deliveries(msg)))
	letter.Header.Set(deadSource, name(msg))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), buryTimeout)
	defer cancel()
	// With an ID the broker drops it if it has it already, should the end below get lost.
	if _, err := c.js.PublishMsg(ctx, letter, jetstream.WithMsgID(name(msg))); err != nil {
		return errors.Join(fmt.Errorf("no dead letter: %w", err), msg.NakWithDelay(c.maxDelay))
	}
	c.dead.Add(1)
	c.logger.WarnContext(work, "dead letter", "message", name(msg), "attempts", deliveries(msg), "reason", reason)
	return msg.Term()
}

// deliveries is how often a message has been delivered, this time included.
func deliveries(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1 // it is from no stream: a test's
	}
	return int(meta.NumDelivered) //nolint:gosec // a few
}

// name is what a message is called wherever it goes: for logs, and for handlers that
// must not do a thing twice.
func name(msg jetstream.Msg) string {
	meta, err := msg.Metadata()
	if err != nil {
		return msg.Subject()
	}
	return fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream)
}
