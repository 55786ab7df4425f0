package storetest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/failsoft/failsoft/stale"
)

func missIsNoError(s *subject) {
	e, err := s.store.Get(s.ctx, stale.Key{Primary: "nothing"})
	if e != nil || err != nil {
		s.Fatalf("Get of what is not there: want nil and no error, got %v and %v", e, err)
	}
}

func comesBack(s *subject) {
	at := born()
	for name, e := range specimens(at) {
		s.set(stale.Key{Primary: name}, e)
	}
	// All went in before the first comes out, and out of twins: a Store that keeps
	// one entry, or changes them, must not pass for that.
	for name, twin := range specimens(at) {
		s.wantSame(stale.Key{Primary: name}, twin)
	}
}

func isReplaced(s *subject) {
	at, key := born(), stale.Key{Primary: "key", Variant: "v"}
	for _, e := range []*stale.Entry{response(at, "a longer one", "tag"), response(at, "2"), mark(at), list(at, "v")} {
		s.set(key, e)
		s.wantSame(key, e)
	}
}

func notChanged(s *subject) {
	at := born()
	entries := specimens(at)
	out := make([]*stale.Entry, 0, len(entries))
	want := make([]*stale.Entry, 0, len(entries))
	for name, e := range entries {
		key := stale.Key{Primary: name}
		s.set(key, e)
		out, want = append(out, s.get(key)), append(want, specimens(at)[name])
	}
	for name := range entries {
		s.purge(name, true)
	}
	s.purgeAll(true)
	for name := range entries {
		s.set(stale.Key{Primary: name}, response(at, "something else"))
	}
	s.purgeAll(false)

	for name, twin := range specimens(at) {
		if d := difference(twin, entries[name]); d != "" {
			s.Errorf("the Store has changed an entry that was handed to it (%s): %s", name, d)
		}
	}
	for i, e := range out {
		if e == nil {
			s.Fatalf("an entry was not stored")
			return
		}
		if d := difference(want[i], e); d != "" {
			s.Errorf("the Store has changed an entry that it had handed out: %s", d)
		}
	}
}

func variantsApart(s *subject) {
	at := born()
	entries := map[stale.Key]string{
		{Primary: "a"}:                   "the list",
		{Primary: "a", Variant: "b"}:     "variant b",
		{Primary: "a", Variant: "c"}:     "variant c",
		{Primary: "ab"}:                  "a and b in one",
		{Primary: "b", Variant: "a"}:     "the other way round",
		{Primary: "", Variant: "ab"}:     "no primary key",
		{Primary: "a\x00", Variant: "b"}: "with a NUL",
		{Primary: "a", Variant: "\x00b"}: "with a NUL behind",
		{Primary: "a\x00b"}:              "with a NUL between",
		{Primary: "a:b"}:                 "with a colon",
		{Primary: "a", Variant: ":b"}:    "with a colon behind",
		{Primary: "A"}:                   "in upper case",
		{Primary: "a "}:                  "with a space",
	}
	for key, body := range entries {
		s.set(key, response(at, body))
	}
	for key, body := range entries {
		s.wantSame(key, response(at, body))
	}
}

func anyKey(s *subject) {
	at := born()
	long := strings.Repeat("0123456789abcdef", 4<<10) // 64 KiB
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	keys := []stale.Key{
		{Primary: long + "1"},
		{Primary: long + "2"},
		{Primary: long, Variant: long + "1"},
		{Primary: long, Variant: long + "2"},
		{Primary: all.String()},
		{Primary: all.String(), Variant: all.String()},
		{Primary: "\x00"},
		{Primary: "\x00\x00"},
		{Primary: "\xff"},
		{Primary: "\xfe"},
		{Primary: "\x00", Variant: "\xff"},
		{Primary: "*"},
		{Primary: "k*"},
		{Primary: "../k"},
		{Primary: "{k}"},
	}
	for _, key := range keys {
		s.set(key, response(at, key.Primary+"|"+key.Variant))
	}
	for _, key := range keys {
		s.wantSame(key, response(at, key.Primary+"|"+key.Variant))
	}
	for _, key := range keys {
		s.purge(key.Primary, false)
		s.wantNone(key, "after it was purged")
	}
}

func largeBody(s *subject) {
	const must, may = 1 << 20, 16 << 20
	at := born()
	for _, size := range []int{must, may} {
		e := response(at, strings.Repeat("0123456789abcde\n", size/16))
		key := stale.Key{Primary: "large", Variant: strconv.Itoa(size)}
		if err := s.store.Set(s.ctx, key, e, s.epoch()); err != nil && size > must {
			continue
		} else if err != nil {
			s.Fatalf("Set(%s): %v", brief(key), err)
		}
		if got := s.get(key); got != nil || size <= must {
			s.wantSame(key, e)
		}
	}
}

func expires(s *subject) {
	const soon, late = 300 * time.Millisecond, 50 * time.Millisecond
	key, gone := stale.Key{Primary: "soon"}, stale.Key{Primary: "gone"}
	long := stale.Key{Primary: "long"}
	at := born()
	s.set(long, response(at, "long"))

	past := response(at, "past")
	past.Expires = time.Now().Add(-time.Second)
	s.set(gone, past)
	s.wantNone(gone, "that had expired before it was stored")

	var end time.Time
	for range 3 { // where it may have expired before it was looked for, nothing is known yet
		e := response(at, "soon")
		end = time.Now().Add(soon).Truncate(time.Millisecond)
		e.Expires = end
		s.set(key, e)
		if s.get(key) != nil {
			break
		}
		if time.Now().Before(end) {
			s.Fatalf("an entry is gone before it has expired")
		}
	}
	timer := time.NewTimer(time.Until(end) + late)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
	s.wantNone(key, "that has expired")
	s.wantSame(long, response(at, "long"))
}

// canceled asks for a return, not for an error: what is at hand may be answered.
func canceled(s *subject) {
	const promptly = time.Second
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	at := s.epoch()
	calls := map[string]func() error{
		"Get":      func() error { _, err := s.store.Get(ctx, stale.Key{Primary: "k"}); return err },
		"Epoch":    func() error { _, err := s.store.Epoch(ctx); return err },
		"Set":      func() error { return s.store.Set(ctx, stale.Key{Primary: "k"}, response(born(), "x"), at) },
		"Purge":    func() error { return s.store.Purge(ctx, "k", true) },
		"PurgeAll": func() error { return s.store.PurgeAll(ctx, true) },
	}
	for name, call := range calls {
		s.within(promptly, name+" with a canceled context", func() { _ = call() })
	}
}
