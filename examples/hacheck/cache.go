package main

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// question is what a load balancer asks.
type question struct {
	kind    string // http, tcp, mysql
	service string
	port    int
	path    string // with its query, as it came
}

// answer is what it gets.
type answer struct {
	code int
	body string
}

var (
	errBusy   = errors.New("too many different checks at once")
	errClosed = errors.New("the server is closing")
)

// cache asks each question once for all who want to know at the same time, and gives
// the answer to all who come within ttl of it.
//
// The probe belongs to the cache and not to the request that has caused it: a caller
// that leaves takes nothing from those who wait with it.
//
// Questions come from outside and are made up of anything, so there is a bound to
// how many are remembered. Past it the oldest answer goes; if there are only
// questions that wait for theirs, a further one is refused.
type cache struct {
	ttl     time.Duration
	timeout time.Duration
	size    int
	probe   func(context.Context, question) answer

	ctx    context.Context // of the probes
	cancel context.CancelFunc
	probes sync.WaitGroup

	mu      sync.Mutex
	entries map[question]*list.Element // of *entry
	oldest  *list.List                 // all of them, by when they were asked
	hits    int
	misses  int
}

// entry is a question under way, and then its answer.
type entry struct {
	question question
	known    chan struct{} // closed when there is an answer
	answer   answer        // from here on by whom known is closed
	at       time.Time
}

// answered reports whether the entry has its answer.
func (e *entry) answered() bool {
	select {
	case <-e.known:
		return true
	default:
		return false
	}
}

func newCache(ttl, timeout time.Duration, size int, probe func(context.Context, question) answer) *cache {
	c := &cache{
		ttl: ttl, timeout: timeout, size: size, probe: probe,
		entries: make(map[question]*list.Element), oldest: list.New(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// get returns the answer to a question, or an error if the caller leaves before
// there is one.
func (c *cache) get(ctx context.Context, q question) (answer, error) {
	e, err := c.ask(q)
	if err != nil {
		return answer{}, err
	}
	select {
	case <-e.known:
		return e.answer, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// ask returns the entry of a question, and starts its probe if that is due.
func (c *cache) ask(q question) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	if element := c.entries[q]; element != nil {
		e := entryOf(element)
		if !e.answered() || time.Since(e.at) < c.ttl {
			c.hits++
			return e, nil
		}
		c.drop(element)
	}
	if len(c.entries) >= c.size && !c.makeRoom() {
		return nil, errBusy
	}
	e := &entry{question: q, known: make(chan struct{})}
	c.entries[q] = c.oldest.PushBack(e)
	c.misses++
	c.probes.Go(func() { c.find(e) })
	return e, nil
}

func (c *cache) find(e *entry) {
	defer close(e.known) // whatever happens, nobody waits for ever
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	e.answer = c.probe(ctx, e.question)
	e.at = time.Now()
}

func (c *cache) makeRoom() bool {
	for element := c.oldest.Front(); element != nil; element = element.Next() {
		if entryOf(element).answered() {
			c.drop(element)
			return true
		}
	}
	return false
}

func entryOf(element *list.Element) *entry {
	return element.Value.(*entry) //nolint:forcetypeassert // the list holds nothing else
}

func (c *cache) drop(element *list.Element) {
	delete(c.entries, entryOf(element).question)
	c.oldest.Remove(element)
}

// stats are for /status.
func (c *cache) stats() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]int{"size": len(c.entries), "gets": c.hits + c.misses, "hits": c.hits, "misses": c.misses}
}

// close ends all probes and waits for them.
func (c *cache) close(context.Context) error {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.probes.Wait() // not long: all of them heed their context
	return nil
}
