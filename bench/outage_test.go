package bench_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	// outageWarmUp lets the budget's first window pass, and the last attempt of
	// the longest backoff, 15 s, arrive: what is counted is the steady state.
	outageWarmUp = 16 * time.Second

	// outageCounted is one window of the budget.
	outageCounted = 10 * time.Second

	// outageAnswer is how long an overloaded server takes to say so. Budgets that
	// count what is in flight need something to be in flight.
	outageAnswer = 10 * time.Millisecond
)

// What a total outage does to the load: attempts for each request, in virtual
// time, in an open loop, as the world's users do not wait for each other.
func TestOutage(t *testing.T) {
	rates := []int{20, 200, 2000}
	tab := &table{name: "outage"}
	tab.row("attempts per request at", "20/s", "200/s", "2,000/s")
	for i, contender := range bench.Outage() {
		row := []string{contender.Name}
		for _, rate := range rates {
			t.Run(fmt.Sprintf("%s/%d", contender.Name, rate), func(t *testing.T) {
				factor := amplification(t, contender, rate)
				row = append(row, fixed(factor, 2))
				if i == 0 {
					assert.LessOrEqual(t, factor, 1.15)
					assert.Greater(t, factor, 1.09, "the budget pays for a tenth at any rate")
				}
			})
		}
		tab.row(row...)
	}
	tab.publish(t)
}

func amplification(t *testing.T, contender bench.Transport, rate int) (factor float64) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		server := &outage{from: time.Now().Add(outageWarmUp)}
		client := &http.Client{Transport: contender.Wrap(server)}
		interval := time.Second / time.Duration(rate)
		var users sync.WaitGroup
		for range int((outageWarmUp + outageCounted) / interval) {
			users.Go(func() { ask(client) })
			time.Sleep(interval)
		}
		factor = float64(server.attempts.Load()) / float64(int(outageCounted/interval))
		server.over.Store(true)
		users.Wait()
	})
	return factor
}

// ask makes one request. That it fails is no news.
func ask(client *http.Client) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

// outage is a server that fails every attempt, and counts those that arrive
// after the warm-up and before it is over.
type outage struct {
	from     time.Time
	over     atomic.Bool
	attempts atomic.Int64
}

func (o *outage) RoundTrip(req *http.Request) (*http.Response, error) {
	if !o.over.Load() && !time.Now().Before(o.from) {
		o.attempts.Add(1)
	}
	time.Sleep(outageAnswer)
	return &http.Response{
		StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("overloaded")), Request: req,
	}, nil
}
