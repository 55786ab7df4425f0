package hedge_test

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/budget"
	"github.com/failsoft/failsoft/hedge"
)

func TestEventsTellTheWholeCall(t *testing.T) {
	sent := hedge.Event{Kind: hedge.Sent, Attempt: 2, Trigger: hedge.Slow, Delay: 10 * ms, Elapsed: 10 * ms}
	soon := hedge.Event{Kind: hedge.Sent, Attempt: 2, Trigger: hedge.Failure, Elapsed: 5 * ms}
	for name, tt := range map[string]struct {
		cfg  hedge.Config
		legs []script
		want []hedge.Event
	}{
		"in time": {
			legs: []script{after(5*ms, answers(200))},
		},
		"the hedge wins": {
			legs: []script{hangs, after(5*ms, answers(404))},
			want: []hedge.Event{sent, {Kind: hedge.Won, Attempt: 2, Status: 404, Elapsed: 15 * ms}},
		},
		"the primary wins": {
			legs: []script{after(15*ms, answers(200)), hangs},
			want: []hedge.Event{sent, {Kind: hedge.Lost, Attempt: 2, Elapsed: 15 * ms}},
		},
		"the hedge fails": {
			legs: []script{after(20*ms, answers(200)), after(5*ms, answers(503))},
			want: []hedge.Event{sent, {Kind: hedge.Lost, Attempt: 2, Status: 503, Elapsed: 15 * ms}},
		},
		"the hedge breaks": {
			legs: []script{after(20*ms, answers(200)), after(5*ms, fails(errBoom))},
			want: []hedge.Event{sent, {Kind: hedge.Lost, Attempt: 2, Err: errBoom, Elapsed: 15 * ms}},
		},
		"the primary fails": {
			legs: []script{after(5*ms, answers(503)), after(5*ms, answers(200))},
			want: []hedge.Event{soon, {Kind: hedge.Won, Attempt: 2, Status: 200, Elapsed: 10 * ms}},
		},
		"both fail": {
			legs: []script{after(5*ms, answers(503)), after(5*ms, answers(502))},
			want: []hedge.Event{soon, {Kind: hedge.Lost, Attempt: 2, Status: 502, Elapsed: 10 * ms}},
		},
		"refused": {
			cfg:  hedge.Config{Budget: nothing()},
			legs: []script{after(15*ms, answers(200))},
			want: []hedge.Event{{Kind: hedge.Refused, Attempt: 2, Trigger: hedge.Slow, Reason: hedge.OutOfBudget, Elapsed: 10 * ms}},
		},
	} {
		bubble(t, name, func(t *testing.T) {
			var log diary
			tt.cfg.Observe = log.observe
			call(t, hedge.MustNew(fixed(tt.cfg)).Transport(newBase(tt.legs...)), get(t))
			for n := range tt.want {
				tt.want[n].Key = "shop.test"
			}
			assert.Equal(t, tt.want, log.events())
		})
	}
	bubble(t, "of a multicast", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(hedge.Config{Delay: hedge.AtOnce, Observe: log.observe})
		call(t, h.Transport(newBase(hangs, after(ms, answers(200)))), get(t))
		assert.Equal(t, []hedge.Event{
			{Kind: hedge.Sent, Key: "shop.test", Attempt: 2, Trigger: hedge.Multicast},
			{Kind: hedge.Won, Key: "shop.test", Attempt: 2, Status: 200, Elapsed: ms},
		}, log.events())
	})
	bubble(t, "of a call that its caller leaves", func(t *testing.T) {
		var log diary
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(15*ms, func() { cancel(errBoom) })
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		call(t, h.Transport(newBase(hangs)), get(t).WithContext(ctx))
		require.Equal(t, []hedge.Kind{hedge.Sent, hedge.Lost}, log.kinds())
		assert.Error(t, log.events()[1].Err)
	})
}

// nothing is a budget that pays for nothing.
func nothing() *budget.Budget {
	return budget.MustNew(budget.Config{Ratio: budget.NoRatio, Floor: budget.NoFloor})
}

func TestEventsAgreeWithTheSnapshot(t *testing.T) {
	for _, grace := range []time.Duration{0, 20 * ms} {
		for seed := range uint64(4) {
			bubble(t, fmt.Sprintf("seed %d, grace %v", seed, grace), func(t *testing.T) {
				var log diary
				h := hedge.MustNew(hedge.Config{
					Delay: 10 * ms, Percent: 60, MaxAttempts: 4, LoserGrace: grace, Observe: log.observe,
				})
				chance := rand.New(rand.NewPCG(seed, 1))
				var mu sync.Mutex
				b := newBase(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					d, kind := time.Duration(chance.IntN(30))*ms, chance.IntN(40)
					mu.Unlock()
					switch kind {
					case 0:
						return after(d, answers(502))(req)
					case 1:
						return after(d, fails(errBoom))(req)
					case 2:
						return deaf(d, answers(200))(req)
					case 3:
						return after(d, answers(503, "Retry-After", "1"))(req)
					default:
						return after(d, answers(200))(req)
					}
				})
				var all sync.WaitGroup
				for n := range 400 {
					all.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+n%50)*ms)
						defer cancel()
						call(t, h.Transport(b), get(t).WithContext(ctx))
					})
					time.Sleep(15 * ms)
				}
				all.Wait()
				time.Sleep(time.Second)
				kinds := map[hedge.Kind]uint64{}
				refused := map[hedge.Reason]uint64{}
				for _, e := range log.events() {
					kinds[e.Kind]++
					if e.Kind == hedge.Refused {
						refused[e.Reason]++
					}
				}
				got := shot(t, h)
				assert.Equal(t, kinds[hedge.Sent], got.Sent)
				assert.Equal(t, kinds[hedge.Won], got.Won)
				assert.Equal(t, kinds[hedge.Lost], got.Lost)
				assert.Equal(t, refused, got.Refused)
				assert.Equal(t, got.Sent, got.Won+got.Lost, "every one that was sent has an end")
				sent := len(b.seen()) - 400
				assert.LessOrEqual(t, sent, int(got.Sent))
				assert.InDelta(t, got.Sent, sent, 20, "but for those whose call was over while Sent was told")
				assert.Positive(t, got.Won)
				assert.Positive(t, got.Lost)
			})
		}
	}
}

// What is sent is told of once more, and once only: it has won, lost or panicked.
func TestEventsTellOneEndOfEachAttempt(t *testing.T) {
	for name, tt := range map[string]struct {
		legs []script
		end  hedge.Kind
	}{
		"wins":                          {[]script{hangs, answers(200)}, hedge.Won},
		"loses":                         {[]script{after(15*ms, answers(200)), hangs}, hedge.Lost},
		"fails":                         {[]script{after(15*ms, answers(200)), answers(500)}, hedge.Lost},
		"answers too late":              {[]script{after(15*ms, answers(200)), onEnd(answers(200))}, hedge.Lost},
		"is on its way: primary panics": {[]script{after(15*ms, panics("first")), hangs}, hedge.Lost},
		"panics":                        {[]script{hangs, panics(errBoom)}, hedge.Lost},
		"fails, then all have":          {[]script{after(15*ms, answers(500)), answers(500)}, hedge.Lost},
	} {
		for policy, grace := range map[string]time.Duration{"": 0, ", with a grace": 50 * ms} {
			bubble(t, name+policy, func(t *testing.T) {
				var log diary
				h := hedge.MustNew(fixed(hedge.Config{LoserGrace: grace, Observe: log.observe}))
				_, _ = panicOf(func() { call(t, h.Transport(newBase(tt.legs...)), get(t)) })
				time.Sleep(time.Second)
				assert.Equal(t, []hedge.Kind{hedge.Sent, tt.end}, log.kinds())
				assert.Equal(t, shot(t, h).Sent, shot(t, h).Won+shot(t, h).Lost)
			})
		}
	}
}

func TestEventsTellOfAPanicThatNobodyWaitedFor(t *testing.T) {
	bubble(t, "after the loss", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		call(t, h.Transport(newBase(after(15*ms, answers(200)), onEnd(panics(errBoom)))), get(t))
		synctest.Wait()
		// It has been told to end by then, and does so while the loss is being told.
		assert.ElementsMatch(t, []hedge.Kind{hedge.Sent, hedge.Lost, hedge.Panicked}, log.kinds())
		assert.Equal(t, shot(t, h).Sent, shot(t, h).Won+shot(t, h).Lost)
	})
}

func TestEventsDoNotCallAPanicAWin(t *testing.T) {
	bubble(t, "of a hedge that the caller waits for", func(t *testing.T) {
		var log diary
		h := hedge.MustNew(fixed(hedge.Config{Observe: log.observe}))
		_, panicked := panicOf(func() { call(t, h.Transport(newBase(hangs, panics(errBoom))), get(t)) })
		assert.True(t, panicked)
		assert.NotContains(t, log.kinds(), hedge.Won)
		assert.Zero(t, shot(t, h).Won)
	})
}

func TestEventsComeWithTheCallersContext(t *testing.T) {
	bubble(t, "whatever goroutine they are told in", func(t *testing.T) {
		type key struct{}
		var told atomic.Int64
		h := hedge.MustNew(fixed(hedge.Config{Observe: func(ctx context.Context, _ hedge.Event) {
			told.Add(1)
			assert.Equal(t, "caller", ctx.Value(key{}))
			assert.NoError(t, ctx.Err())
			assert.Equal(t, 1, hedge.Attempt(ctx))
		}}))
		req := get(t)
		call(t, h.Transport(newBase(hangs, answers(200))), req.WithContext(context.WithValue(req.Context(), key{}, "caller")))
		synctest.Wait()
		assert.EqualValues(t, 2, told.Load())
	})
}

func TestEventsObserverMayPanicAndCallBack(t *testing.T) {
	bubble(t, "both", func(t *testing.T) {
		var h *hedge.Hedger
		var told atomic.Int64
		h = hedge.MustNew(fixed(hedge.Config{Observe: func(ctx context.Context, _ hedge.Event) {
			told.Add(1)
			_ = h.Snapshot()
			_ = h.Run(hedge.Off(ctx), "other", func(context.Context) error { return nil })
			panic("observer")
		}}))
		for _, legs := range [][]script{
			{hangs, answers(200)}, {after(15*ms, answers(200)), hangs}, {answers(502), answers(200)},
		} {
			assert.Equal(t, 200, call(t, h.Transport(newBase(legs...)), get(t)).status)
		}
		synctest.Wait()
		assert.EqualValues(t, 6, told.Load())
	})
}

func TestEventsLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, e := range []hedge.Event{
		{Kind: hedge.Sent, Key: "k", Attempt: 2, Trigger: hedge.Slow, Delay: 10 * ms, Elapsed: 10 * ms},
		{Kind: hedge.Won, Key: "k", Attempt: 2, Status: 200, Elapsed: time.Second},
		{Kind: hedge.Lost, Key: "k", Attempt: 2, Err: errBoom},
		{Kind: hedge.Refused, Key: "k", Attempt: 2, Trigger: hedge.Failure, Reason: hedge.TooManyErrors},
	} {
		log.Info("call", "hedge", e)
	}
	for _, line := range []string{
		"hedge.kind=sent hedge.key=k hedge.attempt=2 hedge.elapsed=10ms hedge.trigger=slow hedge.delay=10ms\n",
		"hedge.kind=won hedge.key=k hedge.attempt=2 hedge.elapsed=1s hedge.status=200\n",
		"hedge.kind=lost hedge.key=k hedge.attempt=2 hedge.elapsed=0s hedge.error=boom\n",
		`hedge.kind=refused hedge.key=k hedge.attempt=2 hedge.elapsed=0s hedge.trigger=failure hedge.reason="too many errors"` + "\n",
	} {
		assert.Contains(t, out.String(), line)
	}
}

func TestEventsNameTheirValues(t *testing.T) {
	type word interface {
		fmt.Stringer
		encoding.TextMarshaler
	}
	for value, want := range map[word]string{
		hedge.Sent: "sent", hedge.Won: "won", hedge.Lost: "lost", hedge.Refused: "refused", hedge.Panicked: "panicked",
		hedge.Kind(0): "unknown", hedge.Kind(99): "unknown",
		hedge.Slow: "slow", hedge.Failure: "failure", hedge.Multicast: "multicast", hedge.Trigger(0): "none", hedge.Trigger(99): "unknown",
		hedge.OverPercent: "over percent", hedge.OutOfBudget: "out of budget", hedge.TooManyErrors: "too many errors",
		hedge.Pushback: "pushback", hedge.NeverWins: "never wins", hedge.Reason(0): "allowed", hedge.Reason(99): "unknown",
	} {
		assert.Equal(t, want, value.String())
		text, err := value.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, string(bytes.ReplaceAll([]byte(want), []byte(" "), []byte("_"))), string(text))
	}
	for value, want := range map[hedge.Outcome]string{
		hedge.ByRule: "by rule", hedge.Accept: "accept", hedge.Fail: "fail", 99: "unknown",
	} {
		assert.Equal(t, want, value.String())
	}
}

func TestSnapshotIsPlainData(t *testing.T) {
	bubble(t, "by key, printable, without what did not happen", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		for _, key := range []string{"b", "a"} {
			_, _, err := invokeAs(t.Context(), h, key, step{0, nil})
			require.NoError(t, err)
		}
		s := h.Snapshot()
		require.Len(t, s.Keys, 2)
		assert.Equal(t, hedge.KeySnapshot{Key: "a", Delay: 10 * ms, Refused: map[hedge.Reason]uint64{}}, s.Keys[0])
		assert.Equal(t, "b", s.Keys[1].Key)
		assert.Len(t, s.Budget.Keys, 2)
		s.Keys[0].Refused[hedge.Pushback] = 7
		text, err := json.Marshal(s)
		require.NoError(t, err)
		assert.Contains(t, string(text), `"Refused":{"pushback":7}`)
		assert.Empty(t, h.Snapshot().Keys[0].Refused, "a snapshot shares nothing with the Hedger")
	})
	bubble(t, "while an attempt is on its way", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		b := newBase(after(20*ms, answers(200)), func(req *http.Request) (*http.Response, error) {
			got := shot(t, h)
			assert.EqualValues(t, 1, got.Sent)
			assert.Zero(t, got.Won+got.Lost)
			return hangs(req)
		})
		call(t, h.Transport(b), get(t))
		synctest.Wait()
		assert.Equal(t, 20*ms, b.seen()[1].back())
		assert.EqualValues(t, 1, shot(t, h).Lost)
	})
	bubble(t, "of the error rate", func(t *testing.T) {
		h := hedge.MustNew(fixed(hedge.Config{}))
		_, _, err := invokeAs(t.Context(), h, "db", step{0, errors.New("one")}, step{0, nil})
		require.NoError(t, err)
		assert.InDelta(t, 1.0/32, shot(t, h).ErrorRate, 0.002)
	})
	bubble(t, "of more keys than are kept", func(t *testing.T) {
		h := hedge.MustNew(hedge.Config{MaxKeys: 2, Delay: hedge.AtOnce})
		for n := range 50 {
			_, _, err := invokeAs(t.Context(), h, fmt.Sprint(n), step{ms, nil})
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, len(h.Snapshot().Keys), 3)
	})
}
