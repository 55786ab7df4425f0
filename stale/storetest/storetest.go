package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// Run tests the Stores that open returns: an empty one for each test, which
// nobody else uses. It may close them by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) stale.Store) {
	t.Helper()

	for _, c := range clauses() {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			if c.unless != nil && c.unless(s) {
				t.Skip("the Store does not implement it")
			}
			c.run(newSubject(t, t.Context(), s))
		})
	}
}

// tb is what a clause asks of its test. It is an interface so that a clause can
// be run against a broken Store without failing the test around it.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

type clause struct {
	name   string
	run    func(*subject)
	unless func(stale.Store) bool
}

func clauses() []clause {
	return []clause{
		{name: "a miss is nil and no error", run: missIsNoError},
		{name: "an entry comes back as it went in", run: comesBack},
		{name: "an entry is replaced", run: isReplaced},
		{name: "entries are not changed", run: notChanged},
		{name: "variants are told apart", run: variantsApart},
		{name: "keys of any bytes and length", run: anyKey},
		{name: "a body of a megabyte", run: largeBody},
		{name: "what has expired is gone", run: expires},
		{name: "a canceled context returns at once", run: canceled},
		{name: "the epoch moves with every purge", run: epochMoves},
		{name: "purge hard", run: purgeHard},
		{name: "purge soft", run: purgeSoft},
		{name: "purge hits nothing else", run: purgeHitsNothingElse},
		{name: "purge everything", run: purgeEverything},
		{name: "purge variants that no list names", run: purgeOrphans},
		{name: "purge what is on its way", run: purgeOnItsWay},
		{name: "a refusal leaves what is there", run: refusalLeaves},
		{name: "what is fetched after a purge is stored", run: storesAfterPurge},
		{name: "purge while others store", run: purgeRaces},
		{name: "everything at once", run: everythingAtOnce},
		{name: "tagger: purge", run: tagPurge, unless: noTagger},
		{name: "tagger: purge what is on its way", run: tagOnItsWay, unless: noTagger},
		{name: "tagger: purge while others store", run: tagRaces, unless: noTagger},
		{name: "sizer: counts", run: sizes, unless: noSizer},
		{name: "leaser: one at a time", run: leasesOnce, unless: noLeaser},
	}
}

func noTagger(s stale.Store) bool { _, ok := s.(stale.Tagger); return !ok }
func noSizer(s stale.Store) bool  { _, ok := s.(stale.Sizer); return !ok }
func noLeaser(s stale.Store) bool { _, ok := s.(stale.Leaser); return !ok }

// subject is a Store under test: its methods fail the test where an error is
// none of its business.
type subject struct {
	tb

	ctx   context.Context //nolint:containedctx // That of the test, which t.Context would return.
	store stale.Store
}

func newSubject(t tb, ctx context.Context, s stale.Store) *subject { //nolint:revive // As in testing: t first.
	return &subject{tb: t, ctx: ctx, store: s}
}

func (s *subject) get(key stale.Key) *stale.Entry {
	s.Helper()
	e, err := s.store.Get(s.ctx, key)
	if err != nil {
		s.Fatalf("Get(%s): %v", brief(key), err)
	}
	return e
}

func (s *subject) epoch() stale.Epoch {
	s.Helper()
	at, err := s.store.Epoch(s.ctx)
	if err != nil {
		s.Fatalf("Epoch: %v", err)
	}
	return at
}

// set stores e as fetched just now.
func (s *subject) set(key stale.Key, e *stale.Entry) {
	s.Helper()
	if err := s.store.Set(s.ctx, key, e, s.epoch()); err != nil {
		s.Fatalf("Set(%s): %v", brief(key), err)
	}
}

func (s *subject) purge(primary string, soft bool) {
	s.Helper()
	if err := s.store.Purge(s.ctx, primary, soft); err != nil {
		s.Fatalf("Purge: %v", err)
	}
}

func (s *subject) purgeAll(soft bool) {
	s.Helper()
	if err := s.store.PurgeAll(s.ctx, soft); err != nil {
		s.Fatalf("PurgeAll: %v", err)
	}
}

func (s *subject) purgeTag(tag string, soft bool) {
	s.Helper()
	tagger, ok := s.store.(stale.Tagger)
	if !ok {
		s.Fatalf("it was a Tagger before")
		return
	}
	if err := tagger.PurgeTag(s.ctx, tag, soft); err != nil {
		s.Fatalf("PurgeTag: %v", err)
	}
}

// wantSame demands that want is stored under key.
func (s *subject) wantSame(key stale.Key, want *stale.Entry) {
	s.Helper()
	got := s.get(key)
	if got == nil {
		s.Fatalf("Get(%s): nothing there", brief(key))
		return
	}
	if d := difference(want, got); d != "" {
		s.Fatalf("Get(%s): %s", brief(key), d)
	}
}

func (s *subject) wantNone(key stale.Key, why string) {
	s.Helper()
	if s.get(key) != nil {
		s.Fatalf("Get(%s): there is an entry %s", brief(key), why)
	}
}

// wantRefused demands that an entry fetched since at is not stored.
func (s *subject) wantRefused(key stale.Key, e *stale.Entry, at stale.Epoch, why string) {
	s.Helper()
	if err := s.store.Set(s.ctx, key, e, at); !errors.Is(err, stale.ErrPurged) {
		s.Fatalf("Set(%s) of an entry that was on its way: want ErrPurged %s, got %v", brief(key), why, err)
	}
}

// within fails the test if fn takes longer than d. It counts ticks: those of the time in which
// the machine stood still do not come all at once when it goes on.
func (s *subject) within(d time.Duration, what string, fn func()) {
	s.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	const ticks = 10
	tick := time.NewTicker(d / ticks)
	defer tick.Stop()
	for range ticks {
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
	s.Fatalf("%s: no return within %v", what, d)
}

func brief(key stale.Key) string {
	const enough = 40
	cut := func(text string) string {
		if len(text) <= enough {
			return fmt.Sprintf("%q", text)
		}
		return fmt.Sprintf("%q... of %d bytes", text[:enough], len(text))
	}
	return cut(key.Primary) + ", " + cut(key.Variant)
}
