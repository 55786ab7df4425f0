package budget

import (
	"context"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/keyed"
)

// Budget holds one balance per key. Make one with [New]; all methods are safe
// for concurrent use.
//
// In a testing/synctest bubble a Budget works in virtual time if it was made
// there.
type Budget struct {
	*ledger

	spendOnly bool
}

// ledger is what a Budget and its spend-only views share.
type ledger struct {
	start   time.Time
	step    time.Duration
	deposit int64
	reserve int64
	windows *keyed.Map[window]
}

// New returns a Budget. Its error joins everything that is wrong with cfg.
func New(cfg Config) (*Budget, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &ledger{
		start:   time.Now(),
		step:    cfg.TTL / steps,
		deposit: cfg.deposit(),
		reserve: cfg.reserve(),
	}
	l.windows = keyed.New(keyed.Config[window]{
		Max: cfg.MaxKeys,
		New: func(string) *window { return new(window) },
		// A deposit that arrives while its window is being retired is lost,
		// which errs on the side of less load.
		Retire: func(w *window, now int64) bool { return w.atRest(l.stepAt(now)) },
	})
	return &Budget{ledger: l}, nil
}

// MustNew is New for package variables and examples: it panics where New
// returns an error.
func MustNew(cfg Config) *Budget {
	b, err := New(cfg)
	if err != nil {
		panic(err)
	}
	return b
}

// SpendOnly returns a view of b that withdraws but does not deposit. Where two
// policies share one Budget, the inner takes the view: it sees each request
// that the outer has already paid for.
func (b *Budget) SpendOnly() *Budget { return &Budget{ledger: b.ledger, spendOnly: true} }

// Deposit credits key with one request. It does nothing if ctx belongs to an
// attempt that an outer policy has added.
func (b *Budget) Deposit(ctx context.Context, key string) {
	b.DepositAt(ctx, key, time.Now())
}

// DepositAt is Deposit for callers that have read the clock anyway: reading it
// takes longer than the deposit.
func (b *Budget) DepositAt(ctx context.Context, key string, now time.Time) {
	if b.spendOnly || attempt.Extra(ctx) {
		return
	}
	elapsed := b.elapsed(now)
	b.windows.Get(key, elapsed).add(b.stepAt(elapsed), b.deposit)
}

// Withdraw pays for one extra attempt under key and reports whether the balance
// covered it. Call it when the attempt is about to be sent. A refusal is
// counted.
func (b *Budget) Withdraw(key string) bool {
	elapsed := b.elapsed(time.Now())
	return b.windows.Get(key, elapsed).take(b.stepAt(elapsed), b.reserve)
}

// Covers reports whether a withdrawal under key would succeed now, without
// making it: a call that is about to wait for its next attempt need not wait if
// it would not be paid for. A refusal is counted, as the caller then makes none
// at Withdraw.
func (b *Budget) Covers(key string) bool {
	elapsed := b.elapsed(time.Now())
	w := b.windows.Get(key, elapsed)
	covered := w.balance(b.stepAt(elapsed))+b.reserve >= unit
	if !covered {
		w.refused.Add(1)
	}
	return covered
}

// elapsed is the monotonic time since the Budget was made. A reading from
// before that counts as its start.
func (l *ledger) elapsed(now time.Time) int64 { return max(int64(now.Sub(l.start)), 0) }

// stepAt numbers the steps from one window's length, so that none of the first
// ones is taken for the zero word of a window never used.
func (l *ledger) stepAt(elapsed int64) int64 { return elapsed/int64(l.step) + steps }
