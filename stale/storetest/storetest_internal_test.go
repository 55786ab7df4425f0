package storetest

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/stale"
)

// twin is a correct Store with the flaws that a test gives it.
type twin struct {
	*stale.Memory
	leases

	get      func(ctx context.Context, key stale.Key) (*stale.Entry, error)
	epoch    func(ctx context.Context) (stale.Epoch, error)
	set      func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error
	purge    func(ctx context.Context, primary string, soft bool) error
	purgeAll func(ctx context.Context, soft bool) error
	purgeTag func(ctx context.Context, tag string, soft bool) error
	size     func() (int, int64)
	lease    func(key stale.Key, d time.Duration) bool
}

func (w *twin) Get(ctx context.Context, key stale.Key) (*stale.Entry, error) {
	if w.get != nil {
		return w.get(ctx, key)
	}
	return w.Memory.Get(ctx, key)
}

func (w *twin) Epoch(ctx context.Context) (stale.Epoch, error) {
	if w.epoch != nil {
		return w.epoch(ctx)
	}
	return w.Memory.Epoch(ctx)
}

func (w *twin) Set(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
	if w.set != nil {
		return w.set(ctx, key, e, at)
	}
	return w.Memory.Set(ctx, key, e, at)
}

func (w *twin) Purge(ctx context.Context, primary string, soft bool) error {
	if w.purge != nil {
		return w.purge(ctx, primary, soft)
	}
	return w.Memory.Purge(ctx, primary, soft)
}

func (w *twin) PurgeAll(ctx context.Context, soft bool) error {
	if w.purgeAll != nil {
		return w.purgeAll(ctx, soft)
	}
	return w.Memory.PurgeAll(ctx, soft)
}

func (w *twin) PurgeTag(ctx context.Context, tag string, soft bool) error {
	if w.purgeTag != nil {
		return w.purgeTag(ctx, tag, soft)
	}
	return w.Memory.PurgeTag(ctx, tag, soft)
}

func (w *twin) Size() (entries int, bytes int64) {
	if w.size != nil {
		return w.size()
	}
	return w.Memory.Size()
}

func (w *twin) Lease(_ context.Context, key stale.Key, d time.Duration) (bool, error) {
	if w.lease != nil {
		return w.lease(key, d), nil
	}
	return w.take(key, d), nil
}

// leases is a Leaser for a single process, which a Memory need not be.
type leases struct {
	mu    sync.Mutex
	until map[stale.Key]time.Time
}

func (l *leases) take(key stale.Key, d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.until[key]) {
		return false
	}
	if l.until == nil {
		l.until = map[stale.Key]time.Time{}
	}
	l.until[key] = time.Now().Add(d)
	return true
}

// bare is a Store and nothing else.
type bare struct{ stale.Store }

func clauseNamed(t *testing.T, name string) clause {
	t.Helper()
	all := clauses()
	i := slices.IndexFunc(all, func(c clause) bool { return c.name == name })
	require.GreaterOrEqual(t, i, 0, "no test %q", name)
	return all[i]
}

// copied is what a Store may hand out or keep instead of the entry itself.
func copied(e *stale.Entry, change func(c *stale.Entry)) *stale.Entry {
	if e == nil {
		return nil
	}
	c := &stale.Entry{}
	from, to := reflect.ValueOf(e).Elem(), reflect.ValueOf(c).Elem()
	for i := range from.NumField() {
		if from.Type().Field(i).IsExported() {
			to.Field(i).Set(from.Field(i))
		}
	}
	c.Header, c.Trailer, c.Body = e.Header.Clone(), e.Trailer.Clone(), slices.Clone(e.Body)
	c.Tags, c.Variants = slices.Clone(e.Tags), slices.Clone(e.Variants)
	change(c)
	return c
}

// onSet is a flaw in what is kept.
func onSet(change func(c *stale.Entry)) func(*twin) {
	return func(w *twin) {
		w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
			return w.Memory.Set(ctx, key, copied(e, change), at)
		}
	}
}

// onKey is a flaw in how keys are written.
func onKey(change func(key stale.Key) stale.Key) func(*twin) {
	return func(w *twin) {
		w.get = func(ctx context.Context, key stale.Key) (*stale.Entry, error) { return w.Memory.Get(ctx, change(key)) }
		w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
			return w.Memory.Set(ctx, change(key), e, at)
		}
		w.purge = func(ctx context.Context, primary string, soft bool) error {
			return w.Memory.Purge(ctx, change(stale.Key{Primary: primary}).Primary, soft)
		}
	}
}

// blind makes Set blind to what was purged, for the entries that only chooses.
func blind(w *twin, only func(key stale.Key, e *stale.Entry) bool) {
	w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
		if only(key, e) {
			at, _ = w.Memory.Epoch(ctx)
		}
		return w.Memory.Set(ctx, key, e, at)
	}
}

type flaw struct {
	clause string
	name   string
	says   string // a part of what the clause must report
	plant  func(*twin)
}

func flaws() []flaw {
	always := func(stale.Key, *stale.Entry) bool { return true }
	errMiss := errors.New("no such key")
	return []flaw{
		{"a miss is nil and no error", "error", "no such key", func(w *twin) {
			w.get = func(context.Context, stale.Key) (*stale.Entry, error) { return nil, errMiss }
		}},
		{"a miss is nil and no error", "empty entry", "want nil", func(w *twin) {
			w.get = func(context.Context, stale.Key) (*stale.Entry, error) { return &stale.Entry{}, nil }
		}},
		{"an entry comes back as it went in", "forgets", "nothing there", func(w *twin) {
			w.set = func(context.Context, stale.Key, *stale.Entry, stale.Epoch) error { return nil }
		}},
		{"an entry comes back as it went in", "fails", "disk full", func(w *twin) {
			w.set = func(context.Context, stale.Key, *stale.Entry, stale.Epoch) error { return errors.New("disk full") }
		}},
		{"an entry comes back as it went in", "one slot", "is not what was stored", onKey(func(stale.Key) stale.Key { return stale.Key{} })},
		{"an entry comes back as it went in", "no status", "Status", onSet(func(c *stale.Entry) { c.Status = 200 })},
		{"an entry comes back as it went in", "no trailer", "Trailer", onSet(func(c *stale.Entry) { c.Trailer = nil })},
		{"an entry comes back as it went in", "first values", "Header", onSet(func(c *stale.Entry) {
			for name := range c.Header {
				c.Header[name] = c.Header[name][:1]
			}
		})},
		{"an entry comes back as it went in", "no Asked", "Asked", onSet(func(c *stale.Entry) { c.Asked = "" })},
		{"an entry comes back as it went in", "no Sent", "Sent", onSet(func(c *stale.Entry) { c.Sent = c.Received })},
		{"an entry comes back as it went in", "whole seconds", "Took", onSet(func(c *stale.Entry) { c.Took = c.Took.Truncate(time.Second) })},
		{"an entry comes back as it went in", "no tags", "Tags", onSet(func(c *stale.Entry) { c.Tags = nil })},
		{"an entry comes back as it went in", "not purged", "Purged", onSet(func(c *stale.Entry) { c.Purged = false })},
		{"an entry comes back as it went in", "text bodies", "Body", onSet(func(c *stale.Entry) { c.Body = []byte(strings.ToValidUTF8(string(c.Body), "?")) })},
		{"an entry comes back as it went in", "one variant", "Variants", onSet(func(c *stale.Entry) { c.Variants = c.Variants[:min(1, len(c.Variants))] })},
		{"an entry comes back as it went in", "variants without names", "Variants", onSet(func(c *stale.Entry) {
			for i := range c.Variants {
				c.Variants[i].Names = nil
			}
		})},
		{"an entry comes back as it went in", "no mark", "Mark", onSet(func(c *stale.Entry) { c.Mark = nil })},
		{"an entry comes back as it went in", "half a mark", "Mark", onSet(func(c *stale.Entry) {
			if c.Mark != nil {
				c.Mark = &stale.Mark{PassUntil: c.Mark.PassUntil, Failures: c.Mark.Failures, Wait: c.Mark.Wait}
			}
		})},
		{"an entry comes back as it went in", "short lives", "Expires", onSet(func(c *stale.Entry) {
			if most := time.Now().Add(time.Minute); c.Expires.After(most) {
				c.Expires = most
			}
		})},
		{"an entry comes back as it went in", "overflow", "nothing there", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if e.Expires.Year() > 2262 {
					return nil // As UnixNano does.
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"an entry is replaced", "first one wins", "is not what was stored", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if old, _ := w.Memory.Get(ctx, key); old != nil {
					return nil
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"entries are not changed", "softens in place", "handed to it", func(w *twin) {
			var kept []*stale.Entry
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				kept = append(kept, e)
				return w.Memory.Set(ctx, key, e, at)
			}
			w.purge = func(context.Context, string, bool) error {
				for _, e := range kept {
					e.Purged = true
				}
				return nil
			}
		}},
		{"entries are not changed", "changes what it has handed out", "handed out", func(w *twin) {
			onSet(func(*stale.Entry) {})(w)
			w.purgeAll = func(ctx context.Context, soft bool) error {
				if e, _ := w.Memory.Get(ctx, stale.Key{Primary: "a response"}); e != nil {
					e.Body[0] = 'X'
				}
				return w.Memory.PurgeAll(ctx, soft)
			}
		}},
		{"entries are not changed", "sorts values", "handed to it", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				slices.Sort(e.Header["Link"])
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"variants are told apart", "no variants", "is not what", onKey(func(key stale.Key) stale.Key { return stale.Key{Primary: key.Primary} })},
		{"variants are told apart", "joined", "is not what", onKey(func(key stale.Key) stale.Key { return stale.Key{Primary: key.Primary + key.Variant} })},
		{"variants are told apart", "joined by a NUL", "is not what", onKey(func(key stale.Key) stale.Key { return stale.Key{Primary: key.Primary + "\x00" + key.Variant} })},
		{"variants are told apart", "joined by a colon", "is not what", onKey(func(key stale.Key) stale.Key {
			if key.Variant == "" {
				return key
			}
			return stale.Key{Primary: key.Primary + ":" + key.Variant}
		})},
		{"variants are told apart", "lower case", "is not what", onKey(func(key stale.Key) stale.Key {
			return stale.Key{Primary: strings.ToLower(key.Primary), Variant: key.Variant}
		})},
		{"variants are told apart", "trimmed", "is not what", onKey(func(key stale.Key) stale.Key {
			return stale.Key{Primary: strings.TrimSpace(key.Primary), Variant: key.Variant}
		})},
		{"keys of any bytes and length", "1 KiB", "is not what", onKey(func(key stale.Key) stale.Key {
			return stale.Key{Primary: key.Primary[:min(1024, len(key.Primary))], Variant: key.Variant}
		})},
		{"keys of any bytes and length", "C strings", "is not what", onKey(func(key stale.Key) stale.Key {
			primary, _, _ := strings.Cut(key.Primary, "\x00")
			return stale.Key{Primary: primary, Variant: key.Variant}
		})},
		{"keys of any bytes and length", "text only", "is not what", onKey(func(key stale.Key) stale.Key {
			return stale.Key{Primary: strings.ToValidUTF8(key.Primary, "?"), Variant: key.Variant}
		})},
		{"keys of any bytes and length", "too long to purge", "after it was purged", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				return w.Memory.Purge(ctx, primary[:min(1024, len(primary))], soft)
			}
		}},
		{"a body of a megabyte", "64 KiB", "Body", onSet(func(c *stale.Entry) { c.Body = c.Body[:min(64<<10, len(c.Body))] })},
		{"a body of a megabyte", "8 MiB", "Body", onSet(func(c *stale.Entry) { c.Body = c.Body[:min(8<<20, len(c.Body))] })},
		{"a body of a megabyte", "drops large ones", "nothing there", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if len(e.Body) > 512<<10 {
					return nil
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"what has expired is gone", "never", "before it was stored", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				return w.Memory.Set(ctx, key, copied(e, func(c *stale.Entry) { c.Expires = time.Now().Add(time.Hour) }), at)
			}
		}},
		{"what has expired is gone", "late", "that has expired", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				return w.Memory.Set(ctx, key, copied(e, func(c *stale.Entry) {
					if c.Expires.After(time.Now()) {
						c.Expires = c.Expires.Add(10 * time.Second)
					}
				}), at)
			}
		}},
		{"what has expired is gone", "early", "before it has expired", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if time.Until(e.Expires) < time.Second {
					return nil
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"what has expired is gone", "all at once", "nothing there", func(w *twin) {
			w.get = func(ctx context.Context, key stale.Key) (*stale.Entry, error) {
				e, err := w.Memory.Get(ctx, key)
				if e == nil && key.Primary == "soon" {
					_ = w.Memory.PurgeAll(ctx, false)
				}
				return e, err
			}
		}},
		{"a canceled context returns at once", "Get waits", "Get with a canceled", func(w *twin) {
			w.get = func(context.Context, stale.Key) (*stale.Entry, error) { wait(); return nil, nil }
		}},
		{"a canceled context returns at once", "Set waits", "Set with a canceled", func(w *twin) {
			w.set = func(context.Context, stale.Key, *stale.Entry, stale.Epoch) error { wait(); return nil }
		}},
		{"a canceled context returns at once", "Purge waits", "Purge with a canceled", func(w *twin) {
			w.purge = func(context.Context, string, bool) error { wait(); return nil }
		}},
		{"a canceled context returns at once", "PurgeAll waits", "PurgeAll with a canceled", func(w *twin) {
			w.purgeAll = func(context.Context, bool) error { wait(); return nil }
		}},
		{"a canceled context returns at once", "Epoch waits", "Epoch with a canceled", func(w *twin) {
			w.epoch = func(ctx context.Context) (stale.Epoch, error) {
				if ctx.Err() != nil {
					wait()
				}
				return w.Memory.Epoch(ctx)
			}
		}},
		{"the epoch moves with every purge", "never", "did not move", func(w *twin) {
			w.epoch = func(context.Context) (stale.Epoch, error) { return 7, nil }
		}},
		{"the epoch moves with every purge", "only where something is", "did not move", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				if e, _ := w.Memory.Get(ctx, stale.Key{Primary: primary}); e == nil {
					return nil
				}
				return w.Memory.Purge(ctx, primary, soft)
			}
		}},
		{"the epoch moves with every purge", "not with all", "purge of everything", func(w *twin) {
			w.purgeAll = func(context.Context, bool) error { return nil }
		}},
		{"the epoch moves with every purge", "a clock", "by itself", func(w *twin) {
			var n stale.Epoch
			w.epoch = func(context.Context) (stale.Epoch, error) { n++; return n, nil }
		}},
		{"the epoch moves with every purge", "with every Set", "without a purge", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				return errors.Join(w.Memory.Set(ctx, key, e, at), w.Memory.Purge(ctx, "x", false))
			}
		}},
		{"purge hard", "does nothing", "after it was purged", func(w *twin) {
			w.purge = func(context.Context, string, bool) error { return nil }
		}},
		{"purge hard", "always soft", "after it was purged", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, _ bool) error { return w.Memory.Purge(ctx, primary, true) }
		}},
		{"purge hard", "not what is soft already", "softly and then hard", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				e, _ := w.Memory.Get(ctx, stale.Key{Primary: primary})
				return w.Memory.Purge(ctx, primary, soft || e != nil && e.Purged)
			}
		}},
		{"purge hard", "the list only", "\"1\"): there is an entry", func(w *twin) { w.purge = listOnly(w) }},
		{"purge soft", "always hard", "nothing there", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, _ bool) error { return w.Memory.Purge(ctx, primary, false) }
		}},
		{"purge soft", "does nothing", "Purged", func(w *twin) {
			w.purge = func(context.Context, string, bool) error { return nil }
		}},
		{"purge soft", "keeps marks", "although marks go", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				key := stale.Key{Primary: primary, Variant: "mark"}
				e, _ := w.Memory.Get(ctx, key)
				err := w.Memory.Purge(ctx, primary, soft)
				if at, _ := w.Memory.Epoch(ctx); e != nil {
					_ = w.Memory.Set(ctx, key, e, at)
				}
				return err
			}
		}},
		{"purge soft", "toggles", "Purged", func(w *twin) {
			purged := false
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				purged = purged != (primary == "sole")
				return w.Memory.Purge(ctx, primary, soft)
			}
			w.get = func(ctx context.Context, key stale.Key) (*stale.Entry, error) {
				e, err := w.Memory.Get(ctx, key)
				return copied(e, func(c *stale.Entry) { c.Purged = c.Purged && purged }), err
			}
		}},
		{"purge soft", "for ever", "Purged", func(w *twin) {
			soft := map[string]bool{}
			w.purge = func(ctx context.Context, primary string, s bool) error {
				soft[primary] = true
				return w.Memory.Purge(ctx, primary, s)
			}
			w.get = func(ctx context.Context, key stale.Key) (*stale.Entry, error) {
				e, err := w.Memory.Get(ctx, key)
				return copied(e, func(c *stale.Entry) { c.Purged = soft[key.Primary] }), err
			}
		}},
		{"purge hits nothing else", "prefixes", "nothing there", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				return errors.Join(w.Memory.Purge(ctx, primary, soft), w.Memory.Purge(ctx, primary+"2", false))
			}
		}},
		{"purge hits nothing else", "patterns", "is not what", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				if primary == "*" {
					return w.Memory.PurgeAll(ctx, soft)
				}
				return w.Memory.Purge(ctx, primary, soft)
			}
		}},
		{"purge hits nothing else", "tags", "is not what", func(w *twin) {
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				return errors.Join(w.Memory.Purge(ctx, primary, soft), w.Memory.PurgeTag(ctx, primary, soft))
			}
		}},
		{"purge everything", "does nothing", "Purged", func(w *twin) {
			w.purgeAll = func(context.Context, bool) error { return nil }
		}},
		{"purge everything", "always hard", "a soft purge keeps it", func(w *twin) {
			w.purgeAll = func(ctx context.Context, _ bool) error { return w.Memory.PurgeAll(ctx, false) }
		}},
		{"purge everything", "always soft", "after everything was purged", func(w *twin) {
			w.purgeAll = func(ctx context.Context, _ bool) error { return w.Memory.PurgeAll(ctx, true) }
		}},
		{"purge variants that no list names", "goes by the list", "no list was there", func(w *twin) { w.purge = byTheList(w) }},
		{"purge variants that no list names", "goes by the list if there is one", "named others", func(w *twin) {
			byList := byTheList(w)
			w.purge = func(ctx context.Context, primary string, soft bool) error {
				if e, _ := w.Memory.Get(ctx, stale.Key{Primary: primary}); e == nil {
					return w.Memory.Purge(ctx, primary, soft)
				}
				return byList(ctx, primary, soft)
			}
		}},
		{"purge what is on its way", "no epochs", "after a purge of its key", func(w *twin) { blind(w, always) }},
		{"purge what is on its way", "no epochs of variants", "after a purge of its key", func(w *twin) {
			blind(w, func(key stale.Key, _ *stale.Entry) bool { return key.Variant != "" })
		}},
		{"purge what is on its way", "not by all", "after a purge of everything", func(w *twin) {
			w.purgeAll = func(ctx context.Context, _ bool) error { return w.Memory.Purge(ctx, "all", false) }
		}},
		{"purge what is on its way", "silent", "want ErrPurged", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				_ = w.Memory.Set(ctx, key, e, at)
				return nil
			}
		}},
		{"purge what is on its way", "another error", "want ErrPurged", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if w.Memory.Set(ctx, key, e, at) != nil {
					return errors.New("refused")
				}
				return nil
			}
		}},
		{"purge what is on its way", "stores it nevertheless", "that was refused", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				err := w.Memory.Set(ctx, key, e, at)
				now, _ := w.Memory.Epoch(ctx)
				return errors.Join(err, w.Memory.Set(ctx, key, e, now))
			}
		}},
		{"purge what is on its way", "forgets after 1000", "after 10,000 more", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if now, _ := w.Memory.Epoch(ctx); now-at > 1000 {
					at = now
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"a refusal leaves what is there", "removes it", "nothing there", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				err := w.Memory.Set(ctx, key, e, at)
				if err != nil {
					_ = w.Memory.Purge(ctx, key.Primary, false)
				}
				return err
			}
		}},
		{"what is fetched after a purge is stored", "never again", "purged while", func(w *twin) {
			w.epoch = func(context.Context) (stale.Epoch, error) { return 0, nil }
		}},
		{"what is fetched after a purge is stored", "refuses all", "refuses others", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if now, _ := w.Memory.Epoch(ctx); at != now {
					return stale.ErrPurged
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"purge while others store", "looks first and stores later", "was undone", lookFirst},
		{"purge while others store", "keys only", "a purge of everything was undone", func(w *twin) {
			w.purgeAll = func(ctx context.Context, soft bool) error { return w.Memory.PurgeTag(ctx, "nothing", soft) }
		}},
		{"everything at once", "mixes up", "there is", func(w *twin) {
			var mu sync.Mutex
			var last *stale.Entry
			w.get = func(ctx context.Context, key stale.Key) (*stale.Entry, error) {
				mu.Lock()
				defer mu.Unlock()
				e, err := w.Memory.Get(ctx, key)
				e, last = last, e
				return e, err
			}
		}},
		{"everything at once", "fails at times", "too many", func(w *twin) {
			w.purgeAll = func(context.Context, bool) error { return errors.New("too many") }
		}},
		{"tagger: purge", "does nothing", "move the epoch", func(w *twin) {
			w.purgeTag = func(context.Context, string, bool) error { return nil }
		}},
		{"tagger: purge", "first tag only", "", func(w *twin) {
			onSet(func(c *stale.Entry) { c.Tags = c.Tags[:min(1, len(c.Tags))] })(w)
		}},
		{"tagger: purge", "all", "is not what", func(w *twin) {
			w.purgeTag = func(ctx context.Context, _ string, soft bool) error { return w.Memory.PurgeAll(ctx, soft) }
		}},
		{"tagger: purge", "keys, too", "is not what", func(w *twin) {
			w.purgeTag = func(ctx context.Context, tag string, soft bool) error {
				return errors.Join(w.Memory.PurgeTag(ctx, tag, soft), w.Memory.Purge(ctx, tag, soft))
			}
		}},
		{"tagger: purge", "always hard", "nothing there", func(w *twin) {
			w.purgeTag = func(ctx context.Context, tag string, _ bool) error { return w.Memory.PurgeTag(ctx, tag, false) }
		}},
		{"tagger: purge", "always soft", "after its tag was purged", func(w *twin) {
			w.purgeTag = func(ctx context.Context, tag string, _ bool) error { return w.Memory.PurgeTag(ctx, tag, true) }
		}},
		{"tagger: purge", "text only", "binary tag", func(w *twin) {
			w.purgeTag = func(ctx context.Context, tag string, soft bool) error {
				return w.Memory.PurgeTag(ctx, strings.ToValidUTF8(tag, "?"), soft)
			}
		}},
		{"tagger: purge what is on its way", "no epochs", "after a purge of its tag", func(w *twin) { blind(w, always) }},
		{"tagger: purge what is on its way", "first tag only", "after a purge of its tag", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				return w.Memory.Set(ctx, key, copied(e, func(c *stale.Entry) { c.Tags = c.Tags[:min(1, len(c.Tags))] }), at)
			}
		}},
		{"tagger: purge what is on its way", "refuses all", "refuses entries with others", func(w *twin) {
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				if now, _ := w.Memory.Epoch(ctx); at != now {
					return stale.ErrPurged
				}
				return w.Memory.Set(ctx, key, e, at)
			}
		}},
		{"tagger: purge while others store", "looks first and stores later", "was undone", lookFirst},
		{"sizer: counts", "nothing", "it says 0 of 0", func(w *twin) { w.size = func() (int, int64) { return 0, 0 } }},
		{"sizer: counts", "all that ever came in", "it says", func(w *twin) {
			n := 0
			w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
				n++
				return w.Memory.Set(ctx, key, e, at)
			}
			w.size = func() (int, int64) { _, bytes := w.Memory.Size(); return n, bytes }
		}},
		{"sizer: counts", "entries only", "it says", func(w *twin) {
			w.size = func() (int, int64) { n, _ := w.Memory.Size(); return n, int64(n) }
		}},
		{"sizer: counts", "forgets purges", "it says", func(w *twin) {
			var most int
			w.size = func() (int, int64) {
				n, bytes := w.Memory.Size()
				most = max(n, most)
				return most, max(bytes, int64(most)*10_500)
			}
		}},
		{"leaser: one at a time", "everybody", "it is taken", func(w *twin) {
			w.lease = func(stale.Key, time.Duration) bool { return true }
		}},
		{"leaser: one at a time", "nobody", "nobody has it", func(w *twin) {
			w.lease = func(stale.Key, time.Duration) bool { return false }
		}},
		{"leaser: one at a time", "primary keys", "another variant", func(w *twin) {
			w.lease = func(key stale.Key, d time.Duration) bool { return w.take(stale.Key{Primary: key.Primary}, d) }
		}},
		{"leaser: one at a time", "joined", "another key", func(w *twin) {
			w.lease = func(key stale.Key, d time.Duration) bool {
				return w.take(stale.Key{Primary: key.Primary + key.Variant}, d)
			}
		}},
		{"leaser: one at a time", "for ever", "it has run out", func(w *twin) {
			w.lease = func(key stale.Key, _ time.Duration) bool { return w.take(key, time.Hour) }
		}},
		{"leaser: one at a time", "too short", "it is taken", func(w *twin) { // still, or at once on a slow machine
			w.lease = func(key stale.Key, _ time.Duration) bool { return w.take(key, 100*time.Millisecond) }
		}},
	}
}

// wait is longer than any clause waits.
func wait() {
	timer := time.NewTimer(3 * time.Second)
	<-timer.C
}

// listOnly purges what is under the Variant "" and leaves the variants.
func listOnly(w *twin) func(context.Context, string, bool) error {
	return keeping(w, func(_ *stale.Entry, id string) bool { return id == "1" })
}

// byTheList purges variants that the list names.
func byTheList(w *twin) func(context.Context, string, bool) error {
	return keeping(w, func(list *stale.Entry, id string) bool {
		return list == nil || !slices.ContainsFunc(list.Variants, func(v stale.Variant) bool { return v.ID == id })
	})
}

func keeping(w *twin, keep func(list *stale.Entry, id string) bool) func(context.Context, string, bool) error {
	return func(ctx context.Context, primary string, soft bool) error {
		list, _ := w.Memory.Get(ctx, stale.Key{Primary: primary})
		kept := map[stale.Key]*stale.Entry{}
		for _, id := range []string{"1", "orphan"} {
			key := stale.Key{Primary: primary, Variant: id}
			if e, _ := w.Memory.Get(ctx, key); e != nil && keep(list, id) {
				kept[key] = e
			}
		}
		err := w.Memory.Purge(ctx, primary, soft)
		at, _ := w.Memory.Epoch(ctx)
		for key, e := range kept {
			err = errors.Join(err, w.Memory.Set(ctx, key, e, at))
		}
		return err
	}
}

// lookFirst asks whether the entry has been purged, and stores it afterwards.
func lookFirst(w *twin) {
	w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
		now, _ := w.Memory.Epoch(ctx)
		if now != at {
			return stale.ErrPurged
		}
		for range 20 {
			runtime.Gosched()
		}
		now, _ = w.Memory.Epoch(ctx)
		return w.Memory.Set(ctx, key, e, now)
	}
}

func TestBrokenStoresAreFoundOut(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, f := range flaws() {
		tried[f.clause] = true
		t.Run(f.clause+": "+f.name, func(t *testing.T) {
			t.Parallel() // Some of them take their time.
			c := clauseNamed(t, f.clause)
			w := &twin{Memory: stale.NewMemory(0)}
			f.plant(w)
			report := rttest.Fails(t, func(tb rttest.TB) { c.run(newSubject(tb, tb.Context(), w)) })
			assert.Contains(t, report, f.says, "for the right reason")
			assert.NotContains(t, report, "panic:")
		})
	}
	for _, c := range clauses() {
		assert.Truef(t, tried[c.name], "no broken Store for %q", c.name)
	}
}

func TestTwinWithoutAFlawPasses(t *testing.T) {
	Run(t, func(*testing.T) stale.Store { return &twin{Memory: stale.NewMemory(0)} })
}

func TestStoreThatRefusesLargeEntriesPasses(t *testing.T) {
	Run(t, func(*testing.T) stale.Store {
		w := &twin{Memory: stale.NewMemory(0)}
		w.set = func(ctx context.Context, key stale.Key, e *stale.Entry, at stale.Epoch) error {
			if len(e.Body) > 1<<20 {
				return errors.New("too large")
			}
			return w.Memory.Set(ctx, key, e, at)
		}
		return w
	})
}

func TestStoreThatIsNothingElsePasses(t *testing.T) {
	skipped := 0
	for _, c := range clauses() {
		s := bare{stale.NewMemory(0)}
		if c.unless != nil && c.unless(s) {
			skipped++
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(newSubject(t, t.Context(), s)) })
	}
	assert.Equal(t, 5, skipped)
}

func TestSpecimensHaveSomethingInEveryField(t *testing.T) {
	at := born()
	empty := &stale.Entry{}
	missing := map[string]bool{}
	for field := range reflect.TypeFor[stale.Entry]().Fields() {
		if field.IsExported() {
			missing[field.Name] = true
		}
	}
	require.Contains(t, missing, "Expires")
	for _, e := range specimens(at) {
		for d := difference(empty, e); d != ""; d = difference(empty, e) {
			field, _, _ := strings.Cut(d, " ")
			delete(missing, field)
			e = clearField(e, field)
		}
	}
	assert.Empty(t, slices.Collect(maps.Keys(missing)))
}

func clearField(e *stale.Entry, field string) *stale.Entry {
	return copied(e, func(c *stale.Entry) { reflect.ValueOf(c).Elem().FieldByName(field).SetZero() })
}
