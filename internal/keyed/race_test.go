package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/keyed"
)

// guarded is a cell as breaker and the others build them: it is held by calls,
// and once it was retired nobody can hold it again.
type guarded struct {
	key     string
	mu      sync.Mutex
	holders int
	retired bool
}

func (g *guarded) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired {
		return false
	}
	g.holders++
	return true
}

func (g *guarded) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holders--
}

// crowd counts the cells of a Map that are not retired.
type crowd struct {
	alive, peak, retired atomic.Int64
}

func (c *crowd) newMap(bound int) *keyed.Map[guarded] {
	return keyed.New(keyed.Config[guarded]{
		Max: bound,
		New: func(key string) *guarded {
			c.peak.Store(max(c.peak.Load(), c.alive.Add(1)))
			return &guarded{key: key}
		},
		Retire: func(g *guarded, _ int64) bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.holders > 0 {
				return false
			}
			g.retired = true
			c.retired.Add(1)
			c.alive.Add(-1)
			return true
		},
	})
}

// enter gets the cell of key and holds it.
func enter(t *testing.T, m *keyed.Map[guarded], key string, now func() int64) *guarded {
	t.Helper()
	for g := m.Get(key, now()); ; {
		if g.enter() {
			return g
		}
		again := m.Get(key, now())
		if again == g {
			t.Errorf("key %q got a cell that was retired before the call", key)
		}
		g = again
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	const bound, workers, rounds = 8, 8, 20_000
	var c crowd
	m := c.newMap(bound)
	var clock atomic.Int64
	now := func() int64 { return clock.Add(int64(20 * time.Microsecond)) }
	pinned := enter(t, m, "pinned", now)

	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range rounds {
				key := strconv.Itoa(random.IntN(3 * bound))
				g := enter(t, m, key, now)
				if g.key != key && g.key != keyed.OverflowKey {
					t.Errorf("key %q got the cell of %q", key, g.key)
				}
				if random.IntN(4) == 0 {
					runtime.Gosched()
				}
				g.leave()
				if got := m.Get("pinned", now()); got != pinned {
					t.Error("a busy cell was replaced")
				}
			}
		})
	}
	group.Go(func() {
		for range rounds / 10 {
			for key, g := range m.All() {
				if g.key != key {
					t.Errorf("cell of %q under the key %q", g.key, key)
				}
			}
			if got, ok := m.Lookup("pinned"); !ok || got != pinned {
				t.Error("a busy cell was not found")
			}
			if n := m.Len(); n > bound {
				t.Errorf("%d cells", n)
			}
		}
	})
	group.Wait()
	_, served := m.Overflow()
	t.Logf("%d retired, %d shared", c.retired.Load(), served)
	assert.LessOrEqual(t, c.peak.Load(), int64(bound+1), "cells and the overflow cell")
	assert.Positive(t, c.retired.Load(), "the test must have evicted cells")
}

func TestReadersKeepTheirCellsWhileTheTableGrows(t *testing.T) {
	t.Parallel()
	const bound = 1 << 13
	var c crowd
	m := c.newMap(bound)
	var inserted atomic.Int64
	keys := hosts(bound)
	cells := make([]*guarded, bound)

	var group sync.WaitGroup
	for reader := range uint64(3) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(2, reader))
			for inserted.Load() < bound {
				i := random.Int64N(inserted.Load() + 1)
				if i == inserted.Load() {
					continue
				}
				if got := m.Get(keys[i], i); got != cells[i] {
					t.Errorf("key %q got a second cell", keys[i])
				}
				if got, ok := m.Lookup(keys[i]); !ok || got != cells[i] {
					t.Errorf("key %q was not found", keys[i])
				}
			}
		})
	}
	for i, key := range keys {
		cells[i] = m.Get(key, int64(i))
		inserted.Add(1)
	}
	group.Wait()
	assert.EqualValues(t, bound, c.alive.Load(), "one cell per key")
}

// While a cell is asked to retire, a Get of its key must wait for the answer:
// else it could return a cell that is already marked.
func TestGetWaitsForTheAnswerOfACellThatIsAsked(t *testing.T) {
	t.Parallel()
	for _, agrees := range []bool{true, false} {
		t.Run(fmt.Sprintf("agrees=%t", agrees), func(t *testing.T) {
			t.Parallel()
			var m *keyed.Map[int]
			first := true
			answers := make(chan *int, 2)
			m = keyed.New(keyed.Config[int]{
				Max: 1,
				New: newInt,
				Retire: func(*int, int64) bool {
					if !first {
						return true
					}
					first = false
					go func() { answers <- m.Get("a", 2) }()
					go func() {
						found, _ := m.Lookup("a")
						answers <- found
					}()
					for range 10_000 {
						runtime.Gosched()
					}
					assert.Empty(t, answers, "answered before the cell was")
					return agrees
				},
			})
			asked := m.Get("a", 1)
			m.Get("b", 2)
			for range 2 {
				if got := <-answers; agrees {
					assert.NotSame(t, asked, got)
				} else {
					assert.Same(t, asked, got)
				}
			}
		})
	}
}

// New runs under the lock of the Map, so a Get that ends meanwhile takes none.
func TestGetOfAKnownKeyTakesNoLock(t *testing.T) {
	t.Parallel()
	var m *keyed.Map[int]
	answers := make(chan *int, 1)
	m = keyed.New(keyed.Config[int]{
		Max: 1,
		New: func(key string) *int {
			if key == keyed.OverflowKey {
				go func() { answers <- m.Get("a", 3) }()
				// The other's thread may wait for a processor of a busy machine.
				for begun := time.Now(); len(answers) == 0 && time.Since(begun) < 30*time.Second; {
					runtime.Gosched()
				}
				assert.Len(t, answers, 1, "the lock was needed")
			}
			return new(int)
		},
		Retire: func(*int, int64) bool { return false },
	})
	a := m.Get("a", 1)
	m.Get("b", 2)
	assert.Same(t, a, <-answers, "also after it was asked to retire")
}
