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
	terms   terms
	windows *keyed.Map[window]
}

// New returns a Budget. Its error joins everything that is wrong with cfg.
func New(cfg Config) (*Budget, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &ledger{start: time.Now(), terms: cfg.terms()}
	l.windows = keyed.New(keyed.Config[window]{
		Max: cfg.MaxKeys,
		New: func(string) *window {
			w := new(window)
			w.floor.Store(-l.terms.window()) // full
			return w
		},
		// A deposit that arrives while its window is being retired is lost,
		// which errs on the side of less load.
		Retire: func(w *window, now int64) bool { return w.atRest(now, &l.terms) },
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
	at := max(int64(now.Sub(b.start)), 0)
	b.windows.Get(key, at).deposit(at, &b.terms)
}

// Withdraw pays for one extra attempt under key and reports whether the balance
// covered it. Call it when the attempt is about to be sent. A refusal is
// counted.
func (b *Budget) Withdraw(key string) bool {
	now := b.now()
	return b.windows.Get(key, now).take(now, &b.terms)
}

// Claim asks whether an attempt under key could be paid for now, for a call that
// is going to wait before it sends one: it need not wait for what it will not
// get. A claim withdraws nothing, but keeps later claims from counting on the
// same attempt; end it with Withdraw or Drop. A refusal is counted.
func (b *Budget) Claim(key string) (Claim, bool) {
	now := b.now()
	w := b.windows.Get(key, now)
	if !w.claim(now, &b.terms) {
		return Claim{}, false
	}
	return Claim{b, w}, true
}

// Claim is a call's place in the line for an attempt. It is a value and is to
// be ended once.
type Claim struct {
	b *Budget
	w *window
}

// Withdraw pays for the attempt that was claimed, as [Budget.Withdraw] does. It
// may still be refused: a deposit may have expired during the wait, or was
// withdrawn by somebody who had no need to wait.
func (c Claim) Withdraw() bool {
	c.Drop()
	return c.w.take(c.b.now(), &c.b.terms)
}

// Drop gives the place up.
func (c Claim) Drop() { c.w.claims.Add(-1) }

// now is the monotonic time since the Budget was made.
func (l *ledger) now() int64 { return int64(time.Since(l.start)) }
