package storetest

import (
	"strconv"
	"time"

	"github.com/failsoft/failsoft/stale"
)

func tagPurge(s *subject) {
	at := born()
	tagged := map[stale.Key][]string{
		{Primary: "a"}:               {"tag"},
		{Primary: "a", Variant: "v"}: {"other", "tag"},
		{Primary: "b"}:               {"tag", "\x00\xff"},
	}
	others := map[stale.Key][]string{
		{Primary: "tag"}:             {"other"},
		{Primary: "c"}:               {"tags", "ta", "Tag", "tag ", "tag,tag", ""},
		{Primary: "b", Variant: "v"}: nil,
	}
	for _, soft := range []bool{true, false} {
		for _, entries := range []map[stale.Key][]string{tagged, others} {
			for key, tags := range entries {
				s.set(key, response(at, key.Primary, tags...))
			}
		}
		marked := mark(at)
		marked.Tags = []string{"tag"}
		s.set(stale.Key{Primary: "marked"}, marked)

		before := s.epoch()
		s.purgeTag("tag", soft)
		s.purgeTag("nobody has it", soft)
		if s.epoch() < before+2 {
			s.Fatalf("a purge of a tag did not move the epoch")
		}
		for key, tags := range tagged {
			if !soft {
				s.wantNone(key, "after its tag was purged")
				continue
			}
			want := response(at, key.Primary, tags...)
			want.Purged = true
			s.wantSame(key, want)
		}
		for key, tags := range others {
			s.wantSame(key, response(at, key.Primary, tags...))
		}
		s.wantNone(stale.Key{Primary: "marked"}, "after its tag was purged")
	}
	s.set(stale.Key{Primary: "b"}, response(at, "b", "\x00\xff"))
	s.purgeTag("\x00\xff", false)
	s.wantNone(stale.Key{Primary: "b"}, "after its binary tag was purged")
}

func tagOnItsWay(s *subject) {
	at, key := born(), stale.Key{Primary: "key", Variant: "v"}
	for _, soft := range []bool{true, false} {
		began := s.epoch()
		s.purgeTag("tag", soft)
		s.wantRefused(key, response(at, "late", "other", "tag"), began, "after a purge of its tag")
		s.wantNone(key, "that was refused")
		s.set(key, response(at, "new", "tag"))
		s.wantSame(key, response(at, "new", "tag"))
		s.purge("key", false)
	}
	stored := 0
	for i := range 8 {
		began := s.epoch()
		s.purgeTag("gone"+strconv.Itoa(i), false)
		if s.store.Set(s.ctx, key, response(at, "x", "kept"+strconv.Itoa(i)), began) == nil {
			stored++
		}
	}
	if stored < 4 {
		s.Fatalf("a purge of one tag refuses entries with others that are on their way (%d of 8)", 8-stored)
	}
}

func sizes(s *subject) {
	sizer, ok := s.store.(stale.Sizer)
	if !ok {
		s.Fatalf("it was a Sizer before")
		return
	}
	const each, body = 10, 10_000
	at := born()
	want := func(least int) {
		s.Helper()
		entries, bytes := sizer.Size()
		if entries != least || bytes < int64(least*body) || bytes > int64(2*least*body) {
			s.Fatalf("Size: %d entries of %d bytes each, and it says %d of %d", least, body, entries, bytes)
		}
	}
	text := string(make([]byte, body))
	want(0)
	for range 2 { // The second time, they replace the first.
		for i := range each {
			s.set(stale.Key{Primary: "key", Variant: strconv.Itoa(i)}, response(at, text))
			s.set(stale.Key{Primary: "key" + strconv.Itoa(i)}, response(at, text))
		}
		want(2 * each)
	}
	s.purge("key0", false)
	want(2*each - 1)
	s.purge("key", true)
	want(2*each - 1)
	s.purge("key", false)
	want(each - 1)
	s.purgeAll(false)
	want(0)
}

func leasesOnce(s *subject) {
	leaser, ok := s.store.(stale.Leaser)
	if !ok {
		s.Fatalf("it was a Leaser before")
		return
	}
	const long, short, slack = time.Minute, 300 * time.Millisecond, 100 * time.Millisecond
	want := func(key stale.Key, d time.Duration, want bool, why string) {
		s.Helper()
		got, err := leaser.Lease(s.ctx, key, d)
		if err != nil || got != want {
			s.Fatalf("Lease(%s): want %v, %s; got %v, %v", brief(key), want, why, got, err)
		}
	}
	key := stale.Key{Primary: "a", Variant: "b"}
	want(key, long, true, "nobody has it")
	want(key, long, false, "it is taken")
	want(stale.Key{Primary: "ab"}, long, true, "that is another key")
	want(stale.Key{Primary: "a", Variant: "c"}, long, true, "that is another variant")

	brieflyHeld := stale.Key{Primary: "short"}
	want(brieflyHeld, short, true, "nobody has it")
	timer := time.NewTimer(short + slack)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
	want(brieflyHeld, long, true, "it has run out")
	want(key, long, false, "it is taken still")
}
