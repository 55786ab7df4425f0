package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
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
// of them run side by side, and differ in nothing but their client.
type front struct {
	name   string
	client *http.Client
	start  time.Time // of the drill
	record *record
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	product, err := strconv.Atoi(r.PathValue("product"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	path := "/products/" + strconv.Itoa(product)
	sources := upstreams()
	parts := make([]string, len(sources))
	errs := make([]error, len(sources))
	var calls sync.WaitGroup
	for i, source := range sources {
		calls.Go(func() {
			begun := time.Now()
			parts[i], errs[i] = f.fetch(r.Context(), "http://"+source.name+path, visitorOf(r))
			if errs[i] != nil {
				f.record.failed(f.name, begun.Sub(f.start), time.Since(begun))
			}
		})
	}
	calls.Wait()
	for i, source := range sources {
		if errs[i] != nil && source.needed {
			http.Error(w, "We cannot show you this product right now.", http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(parts, "\n")) // a visitor who has left reads no errors
}

// fetch returns one part of the page.
func (f *front) fetch(ctx context.Context, url string, visitor int) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // a name and a number
	if err != nil {
		return "", err
	}
	req.Header.Set(headerVisitor, strconv.Itoa(visitor))
	req.Header.Set(headerFront, f.name)
	resp, err := f.client.Do(req) //nolint:gosec // as above
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing can be lost any more
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}
