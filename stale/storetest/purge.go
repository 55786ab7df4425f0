package storetest

import (
	"errors"
	"strconv"

	"github.com/failsoft/failsoft/stale"
)

func epochMoves(s *subject) {
	last := s.epoch()
	moved := func(what string) {
		now := s.epoch()
		if now <= last {
			s.Fatalf("%s did not move the epoch: it may be on its way", what)
		}
		last = now
	}
	for _, soft := range []bool{true, false} {
		s.purge("nothing there", soft)
		moved("a purge of a key that is not there")
		s.purgeAll(soft)
		moved("a purge of everything, of which there is nothing")
		s.set(stale.Key{Primary: "key"}, response(born(), "x"))
		s.purge("key", soft)
		moved("a purge")
	}
	if before := s.epoch(); before != s.epoch() {
		s.Fatalf("the epoch moves by itself: nothing could ever be stored")
	}
	s.set(stale.Key{Primary: "key"}, response(born(), "x"))
	s.get(stale.Key{Primary: "key"})
	if s.epoch() != last {
		s.Fatalf("the epoch moves without a purge: what is on its way would be refused")
	}
}

// fill stores a list, two variants and a mark under the primary key.
func (s *subject) fill(primary string) {
	s.Helper()
	at := born()
	s.set(stale.Key{Primary: primary}, list(at, "1", "2"))
	s.set(stale.Key{Primary: primary, Variant: "1"}, response(at, primary+"1", "tag"))
	s.set(stale.Key{Primary: primary, Variant: "2"}, response(at, primary+"2", "tag"))
	s.set(stale.Key{Primary: primary, Variant: "mark"}, mark(at))
}

func variants(primary string) []stale.Key {
	return []stale.Key{
		{Primary: primary},
		{Primary: primary, Variant: "1"},
		{Primary: primary, Variant: "2"},
		{Primary: primary, Variant: "mark"},
	}
}

func purgeHard(s *subject) {
	s.fill("key")
	s.set(stale.Key{Primary: "sole"}, response(born(), "sole"))
	s.purge("key", false)
	s.purge("sole", false)
	for _, key := range append(variants("key"), stale.Key{Primary: "sole"}) {
		s.wantNone(key, "after it was purged")
	}
	s.fill("soft")
	s.purge("soft", true)
	s.purge("soft", false)
	for _, key := range variants("soft") {
		s.wantNone(key, "after it was purged softly and then hard")
	}
}

func purgeSoft(s *subject) {
	at := born()
	sole := stale.Key{Primary: "sole"}
	s.set(sole, response(at, "sole", "tag"))
	s.fill("key")
	for range 2 { // The second must not undo the first.
		s.purge("sole", true)
		s.purge("key", true)
		want := response(at, "sole", "tag")
		want.Purged = true
		s.wantSame(sole, want)
		s.wantSoft("key")
	}
	s.set(sole, response(at, "new", "tag"))
	s.wantSame(sole, response(at, "new", "tag"))
}

// wantSoft demands that what fill stored has been purged softly.
func (s *subject) wantSoft(primary string) {
	s.Helper()
	for _, key := range variants(primary) {
		if key.Variant == "mark" {
			s.wantNone(key, "although marks go with a soft purge, too")
			continue
		}
		e := s.get(key)
		switch {
		case e == nil:
			s.Fatalf("Get(%s): a soft purge keeps it", brief(key))
			return
		case !e.Purged:
			s.Fatalf("Get(%s): Purged is not set after a soft purge", brief(key))
		case key.Variant == "" && len(e.Variants) != 2:
			s.Fatalf("Get(%s): the list has lost its variants by a soft purge", brief(key))
		case key.Variant != "" && string(e.Body) != primary+key.Variant:
			s.Fatalf("Get(%s): the body is another one after a soft purge", brief(key))
		}
	}
}

func purgeHitsNothingElse(s *subject) {
	at := born()
	others := []stale.Key{
		{Primary: "ke"},
		{Primary: "key2"},
		{Primary: "key\x00"},
		{Primary: "Key"},
		{Primary: "other", Variant: "key"},
		{Primary: "tag"},
		{Primary: "", Variant: "key"},
		{Primary: "key/below"},
	}
	for _, key := range others {
		s.set(key, response(at, "x", "key", "tag"))
	}
	for _, soft := range []bool{true, false} {
		s.fill("key")
		s.purge("key", soft)
		s.purge("*", soft)
		s.purge("", false)
		s.set(stale.Key{Primary: "", Variant: "key"}, response(at, "x", "key", "tag"))
		for _, key := range others {
			s.wantSame(key, response(at, "x", "key", "tag"))
		}
	}
}

func purgeEverything(s *subject) {
	for _, soft := range []bool{true, false} {
		for i := range 50 {
			s.fill("key" + strconv.Itoa(i))
		}
		s.purgeAll(soft)
		for i := range 50 {
			primary := "key" + strconv.Itoa(i)
			if soft {
				s.wantSoft(primary)
				continue
			}
			for _, key := range variants(primary) {
				s.wantNone(key, "after everything was purged")
			}
		}
	}
}

// purgeOrphans is about variants whose list is gone, or names others by now: a
// new list may name them again.
func purgeOrphans(s *subject) {
	at := born()
	orphan := stale.Key{Primary: "key", Variant: "orphan"}
	s.set(orphan, response(at, "orphan"))
	s.purge("key", false)
	s.wantNone(orphan, "after its primary key was purged: no list was there to name it")

	s.set(orphan, response(at, "orphan"))
	s.set(stale.Key{Primary: "key"}, list(at, "another"))
	s.purge("key", false)
	s.wantNone(orphan, "after its primary key was purged: the list named others")
}

func purgeOnItsWay(s *subject) {
	at := born()
	for _, soft := range []bool{true, false} {
		for _, key := range []stale.Key{{Primary: "key"}, {Primary: "key", Variant: "v"}} {
			began := s.epoch()
			s.purge("key", soft)
			s.wantRefused(key, response(at, "late"), began, "after a purge of its key")
			s.wantNone(key, "that was refused")

			began = s.epoch()
			s.purgeAll(soft)
			s.wantRefused(key, response(at, "late"), began, "after a purge of everything")
			s.wantNone(key, "that was refused")
		}
	}
	// A purge counts from its own moment on, however many have followed.
	began := s.epoch()
	s.purge("key", false)
	for i := range 10_000 {
		s.purge("other"+strconv.Itoa(i), true)
	}
	s.wantRefused(stale.Key{Primary: "key"}, response(at, "late"), began, "after 10,000 more purges")
}

func refusalLeaves(s *subject) {
	at, key := born(), stale.Key{Primary: "key"}
	began := s.epoch()
	s.purge("key", false)
	s.set(key, response(at, "new"))
	s.wantRefused(key, response(at, "late"), began, "although there is a newer one")
	s.wantSame(key, response(at, "new"))
}

// storesAfterPurge allows for a Store that is in doubt at times, as its memory of
// purges is bounded, and not for one that always is.
func storesAfterPurge(s *subject) {
	at, key := born(), stale.Key{Primary: "key"}
	s.purge("key", false)
	s.purgeAll(false)
	s.set(key, response(at, "new"))
	s.wantSame(key, response(at, "new"))

	stored := 0
	for i := range 8 {
		began := s.epoch()
		s.purge("other"+strconv.Itoa(i), false)
		other := stale.Key{Primary: "unconcerned" + strconv.Itoa(i)}
		switch err := s.store.Set(s.ctx, other, response(at, "x", "tag"), began); {
		case err == nil:
			stored++
		case !errors.Is(err, stale.ErrPurged):
			s.Fatalf("Set: %v", err)
		}
	}
	if stored < 4 {
		s.Fatalf("a purge of one key refuses others that are on their way (%d of 8)", 8-stored)
	}
}
