package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// visitor comes once, to both fronts at the same time, for the same product.
type visitor struct {
	at      time.Duration // of the arrival, since the start
	phase   int
	product int
}

// products is how many there are: few enough that somebody has seen each of them
// before the blackout, and so many that a cache has not all of them at hand.
const products = 40

// newVisitors returns perPhase visitors for each phase of the script, in the
// order of their arrival. They come at random, independently of each other.
func newVisitors(s script, perPhase int) []visitor {
	luck := s.luck("visitors")
	all := make([]visitor, 0, perPhase*len(s.phases))
	for i := range s.phases {
		begin := time.Duration(i) * s.length
		for range perPhase {
			at := begin + time.Duration(luck.Int64N(int64(s.length)))
			all = append(all, visitor{at: at, phase: i, product: luck.IntN(products)})
		}
	}
	slices.SortFunc(all, func(a, b visitor) int { return int(a.at - b.at) })
	return all
}

// patience is how long a visitor waits in an outage. It leaves a front time to say that
// a call has run into its deadline.
const patience = 2 * deadline

// crowd sends the visitors. It is an open loop: they come when they come,
// whether or not those before them have been served, and their time counts from
// when they meant to come. A loop that waits for answers would send the fewest
// visitors at the very moment when the shop is slowest.
type crowd struct {
	visitors []visitor
	patience time.Duration
	asks     map[string]*record // what each of them asks for, by path, and where that is noted
	fronts   map[string]string  // URLs by name
	client   *http.Client
	start    time.Time
}

// come sends all visitors, until ctx ends, and returns when the last one has
// left. Those who are in the shop then are served.
func (c *crowd) come(ctx context.Context) {
	var inside sync.WaitGroup
	defer inside.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for number, v := range c.visitors {
		timer.Reset(time.Until(c.start.Add(v.at)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		for name, url := range c.fronts {
			for path, record := range c.asks {
				inside.Go(func() { c.visit(context.WithoutCancel(ctx), name, url+path, number, record) })
			}
		}
	}
}

// visit takes one visitor to one front, for one thing.
func (c *crowd) visit(ctx context.Context, front, url string, number int, record *record) {
	v := c.visitors[number]
	meant := c.start.Add(v.at)
	ctx, cancel := context.WithDeadline(ctx, meant.Add(c.patience))
	defer cancel()
	record.left(number, time.Since(meant))
	status := c.get(ctx, url+strconv.Itoa(v.product), number)
	if status == http.StatusServiceUnavailable {
		record.refused(front, number)
	}
	record.answered(front, number, status == http.StatusOK, time.Since(meant))
}

// get returns the status of an answer that came to its end in time, or 0.
func (c *crowd) get(ctx context.Context, url string, number int) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	req.Header.Set(headerVisitor, strconv.Itoa(number))
	resp, err := c.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close() //nolint:errcheck // nothing can be lost any more
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}
