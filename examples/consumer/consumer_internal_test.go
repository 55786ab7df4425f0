package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
	"github.com/failsoft/failsoft/internal/rttest"
)

// ledger is what handlers have seen.
type ledger struct {
	mu        sync.Mutex
	begun     map[string][]time.Time // by the text of a message
	now, most int
}

func newLedger() *ledger { return &ledger{begun: map[string][]time.Time{}} }

func (l *ledger) begin(msg jetstream.Msg) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := msg.Subject() + " " + string(msg.Data())
	l.begun[text] = append(l.begun[text], time.Now())
	l.now++
	l.most = max(l.most, l.now)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.now--
	}
}

func (l *ledger) count() (messages, deliveries, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.begun {
		deliveries += len(times)
	}
	return len(l.begun), deliveries, l.most
}

// order returns when deliveries began, one after the other.
func (l *ledger) order() (begun []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.begun {
		begun = append(begun, times...)
	}
	slices.SortFunc(begun, time.Time.Compare)
	return begun
}

// A dependency that becomes slower slows down the pull, and nothing else: no message is
// given back, and the rest stays with the broker.
func TestSlowDependency(t *testing.T) {
	const messages, limit = 800, 8
	b, l := newBroker(t), newLedger()
	var begun atomic.Int64
	c := b.consumer(t, soon, backpressure.Fixed(limit), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		work := 5 * time.Millisecond
		if begun.Add(1) > messages/2 {
			work = 40 * time.Millisecond
		}
		pause(ctx, work)
		return nil
	})
	b.publish(t, "orders.new", messages)
	stop := running(t, c)
	var pending []int
	require.Eventually(t, func() bool {
		info := b.info(t)
		assert.LessOrEqual(t, c.held.Load(), int64(limit), "no more is here than there is a place for")
		pending = append(pending, info.NumAckPending)
		assert.Zero(t, info.NumRedelivered, "nothing is given back")
		return b.left(t, orders) == 0
	}, soon, tick)
	require.NoError(t, stop())

	seen, deliveries, most := l.count()
	assert.Equal(t, messages, seen, "nothing is lost")
	require.Equal(t, messages, deliveries, "nor delivered twice")
	assert.Equal(t, limit, most)
	slices.Sort(pending)
	assert.LessOrEqual(t, pending[len(pending)/2], limit, "the broker says so too, but it counts ends later than pulls")
	assert.EqualValues(t, messages, c.done.Load())
	all := l.order()
	quick, slow := turn(all[:messages/2], limit), turn(all[messages/2:], limit)
	assert.Greater(t, slow, 2*quick, "the pull goes with the capacity: time for a message, quick and slow")
	t.Log("a place had its next message after", quick, slow, "and the broker counted at most", pending[len(pending)-1])
}

// turn is how long it usually takes from a message to the one that has its place after it: the
// median, as a machine that stops makes some of them late.
func turn(begun []time.Time, places int) time.Duration {
	var gaps []time.Duration
	for i := range len(begun) - places {
		gaps = append(gaps, begun[i+places].Sub(begun[i]))
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// Where the limit is found and not fixed it follows the capacity of what is called, and
// what is here follows the limit.
func TestLimitFollowsCapacity(t *testing.T) {
	const messages, places = 20_000, 16
	b, l := newBroker(t), newLedger()
	dependency := make(chan struct{}, places)
	c := b.consumer(t, soon, backpressure.Adaptive(), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		dependency <- struct{}{}
		defer func() { <-dependency }()
		pause(ctx, 5*time.Millisecond)
		return nil
	})
	b.publish(t, "orders.new", messages)
	stop := running(t, c)
	limit := func() int { return c.limit().Limit }
	var peak int
	require.Eventually(t, func() bool { peak = max(peak, limit()); return peak >= places }, soon, tick)
	for range places - 1 { // its bad day
		dependency <- struct{}{}
	}
	require.Eventually(t, func() bool { peak = max(peak, limit()); return limit() <= places/2 }, soon, tick)
	require.Eventually(t, func() bool { return c.held.Load() <= places/2 }, soon, tick)
	for range places - 1 {
		<-dependency
	}
	require.Eventually(t, func() bool { return limit() >= places }, soon, tick, "it comes back")
	require.NoError(t, stop())

	seen, deliveries, _ := l.count()
	assert.Equal(t, seen, deliveries, "nothing is delivered twice")
	assert.Eventually(t, func() bool { return seen+b.left(t, orders) == messages }, soon, tick, "nothing is lost")
	assert.Zero(t, b.info(t).NumRedelivered, "nothing is given back")
	t.Log("limit at most", peak)
}

// What fails comes back later and later, then becomes a dead letter with its reason;
// what comes after it is not held up, though there are more failures than places.
func TestRetriesAndDeadLetters(t *testing.T) {
	const bad, good = 20, 200
	b, l := newBroker(t), newLedger()
	c := b.consumer(t, soon, backpressure.Fixed(4), func(_ context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		if msg.Subject() == "orders.bad" {
			return errors.New("no such article\nanywhere")
		}
		return nil
	})
	b.publish(t, "orders.bad", bad)
	b.publish(t, "orders.good", good)
	stop := running(t, c)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stop())

	var last []time.Time
	for text, times := range l.begun {
		if len(times) == 1 {
			assert.Contains(t, text, "good")
			last = append(last, times[0])
			continue
		}
		require.Len(t, times, c.attempts, text)
		for i := 1; i < len(times); i++ {
			assert.GreaterOrEqual(t, times[i].Sub(times[i-1]), c.delay<<(i-1)-time.Millisecond, "delay %d of %s", i, text)
		}
	}
	require.Len(t, last, good)
	for text, times := range l.begun {
		if len(times) > 1 {
			assert.True(t, slices.MaxFunc(last, time.Time.Compare).Before(times[3]), "%s has held up others", text)
		}
	}
	letters := b.letters(t)
	require.Len(t, letters, bad)
	for _, letter := range letters {
		assert.Equal(t, "dead.orders.bad", letter.Subject)
		assert.Equal(t, "no such article anywhere", letter.Header.Get(deadReason))
		assert.Equal(t, "4", letter.Header.Get(deadAttempts))
		assert.Equal(t, orders+"-"+strconv.Itoa(must(strconv.Atoi(string(letter.Data)))+1), letter.Header.Get(deadSource))
	}
	assert.EqualValues(t, bad, c.dead.Load())
	assert.EqualValues(t, bad*(c.attempts-1), c.retried.Load())
	assert.EqualValues(t, good, c.done.Load())
}

func must[T any](value T, err error) T {
	if err != nil {
		return *new(T)
	}
	return value
}

// A handler that panics or ends its goroutine ends neither the consumer nor the place.
func TestPoison(t *testing.T) {
	b, l := newBroker(t), newLedger()
	c := b.consumer(t, soon, backpressure.Fixed(1), func(_ context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		switch msg.Subject() {
		case "orders.panic":
			panic("boom")
		case "orders.goexit":
			runtime.Goexit()
		case "orders.poison":
			return poison(errors.New("not JSON"))
		}
		return nil
	})
	c.delay = 50 * time.Millisecond
	for _, subject := range []string{"orders.panic", "orders.goexit", "orders.poison", "orders.good"} {
		b.publish(t, subject, 3)
	}
	stop := running(t, c)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stop())

	reasons := map[string][]string{}
	for _, letter := range b.letters(t) {
		reasons[letter.Subject] = append(reasons[letter.Subject],
			letter.Header.Get(deadReason)+" after "+letter.Header.Get(deadAttempts))
	}
	assert.Equal(t, map[string][]string{
		"dead.orders.panic":  slices.Repeat([]string{"panic: boom after 1"}, 3),
		"dead.orders.poison": slices.Repeat([]string{"not JSON after 1"}, 3),
		"dead.orders.goexit": slices.Repeat([]string{errGone.Error() + " after 4"}, 3),
	}, reasons)
	assert.EqualValues(t, 3, c.done.Load())
	assert.Equal(t, 1, c.limiter.Free(backpressure.Request{}), "each place has been given back")
}

// A message that its workers die of is put aside without another try.
func TestLost(t *testing.T) {
	b := newBroker(t)
	var called atomic.Int64
	c := b.consumer(t, soon, backpressure.Fixed(1), func(context.Context, jetstream.Msg) error {
		called.Add(1)
		return nil
	})
	b.publish(t, "orders.new", 1)
	for range c.attempts {
		msg, err := c.queue.Next(jetstream.FetchMaxWait(soon))
		require.NoError(t, err)
		require.NoError(t, msg.Nak())
	}
	stop := running(t, c)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stop())
	assert.Zero(t, called.Load())
	require.Len(t, b.letters(t), 1)
	assert.Equal(t, errLost.Error(), b.letters(t)[0].Header.Get(deadReason))
}

// At its end it begins nothing new, finishes what it can within the grace, and the rest
// goes to another consumer at once, not after the ack wait.
func TestShutdown(t *testing.T) {
	const messages, limit = 12, 4
	b, l := newBroker(t), newLedger()
	stopping := make(chan struct{})
	c := b.consumer(t, 2*soon, backpressure.Fixed(limit), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		if n := must(strconv.Atoi(string(msg.Data()))); n%2 == 0 {
			<-stopping
			pause(ctx, 100*time.Millisecond)
			return ctx.Err()
		}
		<-ctx.Done()
		return ctx.Err()
	})
	c.grace = 500 * time.Millisecond
	b.publish(t, "orders.new", messages)
	stop := running(t, c)
	require.Eventually(t, func() bool { _, n, _ := l.count(); return n == limit }, soon, tick)
	time.AfterFunc(tick, func() { close(stopping) })
	watched := rttest.HoldUps()
	require.NoError(t, stop())
	ended, held, returned := time.Now(), watched(), int(c.returned.Load())
	_, begun, _ := l.count()
	assert.Equal(t, limit, begun, "it began no more")
	assert.Equal(t, limit, returned+int(c.done.Load()))
	if held < c.grace/2 { // or the grace may be over before they had their time
		assert.Equal(t, limit/2, returned)
	}
	assert.Zero(t, c.held.Load())

	next := b.consumer(t, 2*soon, backpressure.Fixed(limit), func(_ context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		return nil
	})
	stopNext := running(t, next)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	assert.Less(t, time.Since(ended), soon, "before the ack wait")
	require.NoError(t, stopNext())
	seen, deliveries, _ := l.count()
	assert.Equal(t, messages, seen)
	assert.Equal(t, messages+returned, deliveries)
	assert.Empty(t, b.letters(t))
}

// A handler that does not hear its end does not keep the program: its message is left
// to the ack wait.
func TestDeafHandler(t *testing.T) {
	b := newBroker(t)
	forever := make(chan struct{})
	begun := make(chan struct{}, 2)
	c := b.consumer(t, time.Second, backpressure.Fixed(1), func(context.Context, jetstream.Msg) error {
		begun <- struct{}{}
		<-forever
		return nil
	})
	defer func() { close(forever); c.workers.Wait() }()
	c.grace = 100 * time.Millisecond
	b.publish(t, "orders.new", 1)
	stop := running(t, c)
	<-begun
	require.ErrorContains(t, stop(), "1 handlers do not end")

	next := b.consumer(t, time.Second, backpressure.Fixed(1), func(context.Context, jetstream.Msg) error { return nil })
	stopNext := running(t, next)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stopNext())
}

// A handler that takes longer than the ack wait keeps its message, and so does one that
// waits for a place because somebody has taken it after the pull.
func TestSlowHandlerKeepsItsMessage(t *testing.T) {
	const ackWait = time.Second
	begun, delivered, held := deliveriesOfASlowOne(t, ackWait)
	for tries := 1; tries < 5 && held > ackWait/2; tries++ { // the broker may have heard nothing for too long
		begun, delivered, held = deliveriesOfASlowOne(t, ackWait)
	}
	assert.Equal(t, 1, begun)
	assert.EqualValues(t, 1, delivered, "it was delivered once; the machine stopped for %v at most", held)
}

// deliveriesOfASlowOne returns how often a message began to be handled and was delivered, and for
// how long the machine was held up at most.
func deliveriesOfASlowOne(t *testing.T, ackWait time.Duration) (begun int, delivered uint64, held time.Duration) {
	t.Helper()
	b, l := newBroker(t), newLedger()
	c := b.consumer(t, ackWait, backpressure.Fixed(1), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		pause(ctx, 2*ackWait)
		return nil
	})
	stop := running(t, c)
	require.Eventually(t, func() bool { return b.info(t).NumWaiting == 1 }, soon, tick, "it has asked for a message")
	permit, err := c.limiter.TryAcquire(t.Context(), backpressure.Request{})
	require.NoError(t, err, "the pull itself holds none")
	watched := rttest.HoldUps()
	b.publish(t, "orders.new", 1)
	require.Eventually(t, func() bool { return c.held.Load() == 1 }, soon, tick)
	pause(t.Context(), 2*ackWait)
	_, deliveries, _ := l.count()
	assert.Zero(t, deliveries, "it waits for the place")
	permit.Done(backpressure.Success)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	held = watched()
	require.NoError(t, stop())
	_, begun, _ = l.count()
	return begun, b.info(t).Delivered.Consumer, held
}

// One that takes longer than it may loses its message, which is tried again.
func TestTimeout(t *testing.T) {
	b, l := newBroker(t), newLedger()
	c := b.consumer(t, soon, backpressure.Fixed(1), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		<-ctx.Done()
		return ctx.Err()
	})
	c.timeout, c.delay, c.attempts = 100*time.Millisecond, 50*time.Millisecond, 2
	b.publish(t, "orders.new", 1)
	stop := running(t, c)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stop())
	require.Len(t, b.letters(t), 1)
	assert.Equal(t, context.DeadlineExceeded.Error(), b.letters(t)[0].Header.Get(deadReason))
}

// A broker that crashes and comes back loses nothing, and the consumer goes on by itself.
func TestBrokerCrash(t *testing.T) {
	const messages = 500
	b, l := newBroker(t), newLedger()
	c := b.consumer(t, time.Second, backpressure.Fixed(4), func(ctx context.Context, msg jetstream.Msg) error {
		defer l.begin(msg)()
		pause(ctx, 5*time.Millisecond)
		return nil
	})
	c.attempts = 100 // what it did not hear it delivers once more
	b.publish(t, "orders.new", messages)
	stop := running(t, c)
	require.Eventually(t, func() bool { n, _, _ := l.count(); return n >= messages/5 }, soon, tick)
	b.kill()
	b.start(t)
	require.Eventually(t, func() bool { // what is done may still be in the stream: that version forgets to remove it
		info := b.info(t)
		return info.NumPending == 0 && info.NumAckPending == 0
	}, soon, tick)
	require.NoError(t, stop())
	seen, deliveries, most := l.count()
	assert.Equal(t, messages, seen, "nothing is lost")
	assert.LessOrEqual(t, most, 4)
	assert.Empty(t, b.letters(t))
	t.Log(deliveries-messages, "messages were delivered twice")
}

// Where processors are short the consumer waits, where a server would refuse.
func TestWaitsOutRefusals(t *testing.T) {
	const messages = 100
	b := newBroker(t)
	var asked atomic.Int64
	var over atomic.Bool
	c := b.consumer(t, soon, backpressure.Fixed(4), func(context.Context, jetstream.Msg) error { return nil })
	c.limiter = must(backpressure.New(backpressure.Config{
		CPULoad: func() float64 {
			asked.Add(1)
			if over.Load() {
				return 0
			}
			return 1000
		},
	}))
	b.publish(t, "orders.new", messages)
	stop := running(t, c)
	require.Eventually(t, func() bool { return asked.Load() >= 20 }, soon, tick, "whatever it is told, it asks again")
	over.Store(true)
	require.Eventually(t, func() bool { return b.left(t, orders) == 0 }, soon, tick)
	require.NoError(t, stop())
	assert.EqualValues(t, messages, c.done.Load())
	assert.Zero(t, b.info(t).NumRedelivered)
}
