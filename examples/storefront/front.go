package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/failsoft/failsoft/backpressure"
)

// Both headers go from the visitor through the front to the upstreams, as a
// trace's id would.
const (
	headerVisitor = "Visitor"
	headerFront   = "Front"
)

// visitorOf returns the number of the visitor that a request is made for.
func visitorOf(r *http.Request) int {
	n, err := strconv.Atoi(r.Header.Get(headerVisitor))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// front is a shop front: it builds its page from what the upstreams tell. Two
// of them run side by side, and differ in nothing but their client and, where there
// is one, the limiter at their door.
type front struct {
	name    string
	sources []upstream // of the parts of its page
	client  *http.Client
	record  *record
	staff   *staff // who builds the page; nil where they have time to spare
}

// part is what one upstream has to say on a page.
type part struct {
	text string
	old  bool // it has outlived its max-age
	err  error
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	product, err := strconv.Atoi(r.PathValue("product"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	path := "/products/" + strconv.Itoa(product)
	sources := f.offered(r)
	parts := make([]part, len(sources))
	var calls sync.WaitGroup
	for i, source := range sources {
		calls.Go(func() { parts[i] = f.fetch(r.Context(), "http://"+source.name+path, visitorOf(r)) })
	}
	calls.Wait()
	var page strings.Builder
	var work time.Duration
	old := false
	for i, source := range sources {
		if parts[i].err != nil && source.needed {
			http.Error(w, "We cannot show you this product right now.", http.StatusServiceUnavailable)
			return
		}
		old = old || parts[i].old
		work += source.work
		page.WriteString(parts[i].text + "\n")
	}
	if old {
		f.record.staled(f.name, visitorOf(r))
	}
	f.staff.build(r.Context(), work)
	_, _ = io.WriteString(w, page.String()) // a visitor who has left reads no errors
}

// offered returns the upstreams that this page is built from: all of them, or without
// those that a limiter at the door says to leave out for now.
func (f *front) offered(r *http.Request) []upstream {
	sources := slices.DeleteFunc(slices.Clone(f.sources), func(u upstream) bool {
		return !u.needed && backpressure.Degrade(r.Context(), u.name)
	})
	if len(sources) < len(f.sources) {
		f.record.degraded(f.name, visitorOf(r))
	}
	return sources
}

// fetch returns one part of the page.
func (f *front) fetch(ctx context.Context, url string, visitor int) part {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return part{err: err}
	}
	req.Header.Set(headerVisitor, strconv.Itoa(visitor))
	req.Header.Set(headerFront, f.name)
	resp, err := f.client.Do(req)
	if err != nil {
		return part{err: err}
	}
	defer resp.Body.Close() //nolint:errcheck // nothing can be lost any more
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return part{text: string(body), old: isOld(resp.Header), err: err}
}

// isOld reports whether a cache on the way answered with what it has kept for too
// long to be fresh: its time to live is over (RFC 9211).
func isOld(header http.Header) bool {
	return strings.Contains(header.Get("Cache-Status"), "; ttl=-")
}
