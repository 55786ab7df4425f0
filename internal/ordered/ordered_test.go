package ordered_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/ordered"
)

func TestQueueDeliversInOrder(t *testing.T) {
	var q ordered.Queue[int]
	q.Deliver(func(int) { t.Error("there is nothing to tell") })
	for i := range 5 {
		q.Put(i)
	}
	var told []int
	q.Deliver(func(i int) { told = append(told, i) })
	assert.Equal(t, []int{0, 1, 2, 3, 4}, told)
	q.Deliver(func(int) { t.Error("all is told") })
}

// TestQueueUnderContention has many put under a lock of their own, as owners do,
// and deliver without it: what is told is what happened under the lock, in its order,
// once each, never by two at a time, and nothing is left when all have come back.
func TestQueueUnderContention(t *testing.T) {
	t.Run("all of what there is room for", func(t *testing.T) {
		happened, told, lost := contend(t, 10, ordered.Most/10)
		require.Zero(t, lost)
		require.True(t, slices.Equal(happened, told), "in the order in which it happened")
	})
	t.Run("and what is lost is counted", func(t *testing.T) {
		happened, told, lost := contend(t, 16, 2000)
		require.Equal(t, len(happened), len(told)+lost)
		for _, e := range told { // a part of what happened, in its order
			i := slices.Index(happened, e)
			require.GreaterOrEqual(t, i, 0, "told twice, or out of order: %d", e)
			happened = happened[i+1:]
		}
	})
}

// contend has workers put rounds events each and deliver them.
func contend(t *testing.T, workers, rounds int) (happened, told []int, lost int) {
	t.Helper()
	var q ordered.Queue[int]
	var owner sync.Mutex
	var telling atomic.Int32
	tell := func(i int) {
		assert.EqualValues(t, 1, telling.Add(1), "tellers at once")
		told = append(told, i) // the race detector watches whether tellers are ordered
		if i%64 == 0 {
			runtime.Gosched()
		}
		telling.Add(-1)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				owner.Lock()
				happened = append(happened, w*rounds+r)
				q.Put(w*rounds + r)
				owner.Unlock()
				q.Deliver(tell)
			}
		})
	}
	wg.Wait()
	q.Deliver(func(i int) { t.Errorf("%d was left", i) })
	return happened, told, q.Lost()
}

// TestQueueIsBounded: an observer that blocks costs the oldest events, and no memory
// without end.
func TestQueueIsBounded(t *testing.T) {
	var q ordered.Queue[int]
	for i := range ordered.Most {
		q.Put(i)
	}
	assert.Zero(t, q.Lost())
	for i := range 5 {
		q.Put(ordered.Most + i)
	}
	assert.Equal(t, 5, q.Lost())
	var told []int
	q.Deliver(func(i int) { told = append(told, i) })
	require.Len(t, told, ordered.Most)
	assert.Equal(t, 5, told[0], "the oldest are gone")
	assert.Equal(t, ordered.Most+4, told[ordered.Most-1])
	assert.True(t, slices.IsSorted(told))
	for range 10 * ordered.Most {
		q.Put(0)
		q.Deliver(func(int) {})
	}
	assert.Equal(t, 5, q.Lost(), "nothing is lost that is told in time")
}

// TestQueueDoesNotWait: who finds another telling goes on, and what it has put is
// told by the other.
func TestQueueDoesNotWait(t *testing.T) {
	t.Run("behind a slow teller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var q ordered.Queue[string]
			told := make(chan string, 2)
			slow := func(s string) {
				time.Sleep(time.Second)
				told <- s
			}
			q.Put("first")
			go q.Deliver(slow)
			synctest.Wait()
			begun := time.Now()
			q.Put("second")
			q.Deliver(func(string) { t.Error("another goroutine tells") })
			assert.Zero(t, time.Since(begun))
			time.Sleep(2*time.Second - 1)
			synctest.Wait()
			require.Len(t, told, 1)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Len(t, told, 2)
			assert.Equal(t, []string{"first", "second"}, []string{<-told, <-told})
		})
	})
}

// TestQueueTellerCallsBack: a teller may put and deliver itself. What it puts comes
// after what was there, and not within its own call.
func TestQueueTellerCallsBack(t *testing.T) {
	var q ordered.Queue[int]
	var told []int
	depth := 0
	var tell func(int)
	tell = func(i int) {
		depth++
		assert.Equal(t, 1, depth, "one call within another")
		told = append(told, i)
		if i < 3 {
			q.Put(10 + i)
			q.Deliver(tell)
		}
		depth--
	}
	for i := range 4 {
		q.Put(i)
	}
	q.Deliver(tell)
	assert.Equal(t, []int{0, 1, 2, 3, 10, 11, 12}, told)
}

func TestQueueOutlivesItsTeller(t *testing.T) {
	ends := map[string]func(){
		"that panics":             func() { panic("teller") },
		"that ends its goroutine": runtime.Goexit,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var q ordered.Queue[int]
			var told []int
			for i := range 4 {
				q.Put(i)
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				defer func() { _ = recover() }()
				q.Deliver(func(i int) {
					told = append(told, i)
					if i == 1 {
						end()
					}
				})
			}()
			<-over
			assert.Equal(t, []int{0, 1}, told)
			q.Put(4)
			q.Deliver(func(i int) { told = append(told, i) })
			assert.Equal(t, []int{0, 1, 2, 3, 4}, told, "the rest comes with the next call, in order, once")
		})
	}
}

// TestQueueOutlivesTellersUnderContention: the end of a teller does not take the
// place of another that has begun meanwhile.
func TestQueueOutlivesTellersUnderContention(t *testing.T) {
	const workers, rounds = 8, 500
	var q ordered.Queue[int]
	var telling, told atomic.Int32
	tell := func(i int) {
		assert.EqualValues(t, 1, telling.Add(1), "tellers at once")
		told.Add(1)
		telling.Add(-1)
		if i%3 == 0 {
			runtime.Goexit()
		}
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r := range rounds {
				over := make(chan struct{})
				go func() {
					defer close(over)
					q.Put(r)
					q.Deliver(tell)
				}()
				<-over
			}
		})
	}
	wg.Wait()
	for int(told.Load())+q.Lost() < workers*rounds {
		before := told.Load()
		over := make(chan struct{})
		go func() {
			defer close(over)
			q.Deliver(tell)
		}()
		<-over
		require.Greater(t, told.Load(), before, "no progress")
	}
	assert.Equal(t, workers*rounds, int(told.Load())+q.Lost())
}

// TestQueueForgets: a queue that is never empty while it is told from does not grow
// with what went through it.
func TestQueueForgets(t *testing.T) {
	var q ordered.Queue[*[1 << 10]byte]
	var gone atomic.Int32
	const n = 1000
	left := n
	put := func() {
		e := new([1 << 10]byte)
		runtime.SetFinalizer(e, func(*[1 << 10]byte) { gone.Add(1) })
		q.Put(e)
	}
	put()
	put()
	most := 0
	q.Deliver(func(*[1 << 10]byte) {
		if left > 0 {
			left--
			put()
		}
		if left%100 == 0 {
			runtime.GC()
			kept := func() int { return n - left - int(gone.Load()) }
			// Finalizers have a goroutine of their own, which may come late on a busy machine.
			for begun := time.Now(); kept() >= n/2 && time.Since(begun) < 30*time.Second; {
				runtime.GC()
			}
			most = max(most, kept())
		}
	})
	assert.Less(t, most, n/2, "events that are kept after they were told")
}
