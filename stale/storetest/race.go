package storetest

import (
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/failsoft/failsoft/stale"
)

func purgeRaces(s *subject) {
	for _, variant := range []string{"", "v"} {
		for _, soft := range []bool{true, false} {
			key := stale.Key{Primary: "key", Variant: variant}
			s.race(key, soft, "a purge of its key", func() { s.purge("key", soft) })
			s.race(key, soft, "a purge of everything", func() { s.purgeAll(soft) })
		}
	}
}

func tagRaces(s *subject) {
	for _, soft := range []bool{true, false} {
		s.race(stale.Key{Primary: "key", Variant: "v"}, soft, "a purge of its tag", func() { s.purgeTag("tag", soft) })
	}
}

// race has many goroutines fetch and store one key, each as the Cache does: the
// epoch first, then the origin. The origin's answer changes just before each
// purge. When a purge has returned, what was true before it must not be served.
func (s *subject) race(key stale.Key, soft bool, what string, purge func()) {
	s.Helper()
	const writers, purges = 8, 100
	r := &race{subject: s, key: key, soft: soft, what: what}
	var wg sync.WaitGroup
	defer r.stop.Store(true) // The test may end in purge.
	for range writers {
		wg.Go(r.write)
	}
	for range purges {
		r.awaitStores(writers)
		version := r.origin.Add(1)
		purge()
		r.purged.Store(version)
		r.check()
	}
	r.awaitStores(writers)
	r.stop.Store(true)
	wg.Wait()
	if text := r.wrong.Load(); text != nil {
		s.Fatalf("%s", *text)
	}
}

type race struct {
	*subject

	key  stale.Key
	soft bool
	what string

	origin atomic.Int64 // what it answers
	purged atomic.Int64 // what it has answered since the last purge that has returned
	stores atomic.Int64
	stop   atomic.Bool
	wrong  atomic.Pointer[string]
}

func (r *race) fail(text string) { r.wrong.CompareAndSwap(nil, &text) }

// awaitStores waits for more Sets, as purges that nobody races with prove nothing.
func (r *race) awaitStores(more int64) {
	for until := r.stores.Load() + more; r.stores.Load() < until && r.wrong.Load() == nil; {
		runtime.Gosched()
	}
}

func (r *race) write() {
	for i := 0; !r.stop.Load() && r.wrong.Load() == nil; i++ {
		began, err := r.store.Epoch(r.ctx)
		if err != nil {
			r.fail("Epoch: " + err.Error())
			return
		}
		answer := response(born(), strconv.FormatInt(r.origin.Load(), 10), "tag")
		for range i % 16 {
			runtime.Gosched() // It is on its way.
		}
		if err := r.store.Set(r.ctx, r.key, answer, began); err != nil && !errors.Is(err, stale.ErrPurged) {
			r.fail("Set: " + err.Error())
			return
		}
		r.stores.Add(1)
		r.check()
	}
}

func (r *race) check() {
	least := r.purged.Load()
	e, err := r.store.Get(r.ctx, r.key)
	if err != nil {
		r.fail("Get: " + err.Error())
		return
	}
	if e == nil || r.soft && e.Purged {
		return
	}
	if version, err := strconv.ParseInt(string(e.Body), 10, 64); err != nil || version < least {
		r.fail(r.what + " was undone: there is answer " + strconv.Quote(string(e.Body)) +
			", and all before " + strconv.FormatInt(least, 10) + " were purged")
	}
}

// everythingAtOnce demands that whatever comes out under a key went in under it.
func everythingAtOnce(s *subject) {
	const goroutines, rounds, keys = 8, 300, 20
	var wg sync.WaitGroup
	var wrong atomic.Pointer[string]
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				key := stale.Key{Primary: strconv.Itoa((i*7 + g) % keys), Variant: strconv.Itoa(i % 3)}
				if text := s.once(i, key); text != "" {
					wrong.CompareAndSwap(nil, &text)
				}
			}
		})
	}
	wg.Wait()
	if text := wrong.Load(); text != nil {
		s.Fatalf("%s", *text)
	}
}

// once does one thing to key, and says what is wrong with what is there then.
func (s *subject) once(i int, key stale.Key) string {
	body := key.Primary + "/" + key.Variant
	began, err := s.store.Epoch(s.ctx)
	switch {
	case i%100 == 1:
		err = errors.Join(err, s.store.PurgeAll(s.ctx, i%200 == 1))
	case i%10 == 0:
		err = errors.Join(err, s.store.Purge(s.ctx, key.Primary, i%20 == 0))
	default:
		if set := s.store.Set(s.ctx, key, response(born(), body), began); !errors.Is(set, stale.ErrPurged) {
			err = errors.Join(err, set)
		}
	}
	e, getErr := s.store.Get(s.ctx, key)
	switch err = errors.Join(err, getErr); {
	case err != nil:
		return err.Error()
	case e != nil && string(e.Body) != body:
		return "under " + body + " there is " + string(e.Body)
	default:
		return ""
	}
}
