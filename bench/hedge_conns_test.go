package bench_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const (
	churnCalls   = 4000
	churnTrial   = 1000 // calls in an ordinary run
	churnWorkers = 20
	churnPace    = 2000 // calls per second, which all of them manage
	churnDelay   = 15 * time.Millisecond
	churnSlow    = 100 * time.Millisecond
	churnGrace   = time.Second // more than the slow attempts take
	churnOpened  = 80          // connections that ours may open, at that pace on a quiet machine
	churnClosed  = 10          // and close again, on any machine
)

// What hedging does to connections: HTTP/1.1 over TLS, on real sockets. To
// cancel a loser is to close its connection. Workers that go as fast as they
// can put more load on whoever answers faster; so there is a common pace, too.
func TestHedgeConnections(t *testing.T) {
	paced := churn{churnTrial, churnPace}
	contenders := bench.HedgeConnections(churnDelay, churnGrace)
	if !inFull() {
		paced.table(t, "hedge, connections, paced", contenders[:1])
		return
	}
	paced.calls = churnCalls
	opened := paced.table(t, "hedge, connections, paced", contenders)
	assert.LessOrEqual(t, opened, churnOpened, "connections")
	churn{churnCalls, 0}.table(t, "hedge, connections, unpaced", contenders)
}

// table measures contenders, the first of which is ours, and returns how many
// connections that one opened.
func (c churn) table(t *testing.T, name string, contenders []bench.Transport) (ours int) {
	t.Helper()
	tab := &table{name: name}
	tab.row("of "+strconv.Itoa(c.calls)+" calls", "opened", "closed", "calls/s", "p99 ms", "extra %")
	for i, contender := range contenders {
		r := c.run(t, contender)
		if i == 0 {
			ours = r.opened
			assert.LessOrEqual(t, r.closed, churnClosed, "closed connections")
		}
		tab.row(contender.Name, strconv.Itoa(r.opened), strconv.Itoa(r.closed),
			fixed(r.rate, 0), millis(r.p99), fixed(r.extra, 1))
	}
	tab.publish(t)
	return ours
}

// churn is calls in a closed loop, or at a pace if there is one.
type churn struct{ calls, pace int }

type churned struct {
	opened, closed int // connections, up to the last answer
	rate, extra    float64
	p99            time.Duration
}

func (c churn) run(t *testing.T, contender bench.Transport) churned {
	t.Helper()
	server := newOftenSlow(t)
	base := server.Client().Transport.(*http.Transport)
	base.MaxIdleConnsPerHost = 10 * churnWorkers // The default of 2 would count, not the hedge.
	client := &http.Client{Transport: contender.Wrap(base)}
	latencies := make([]time.Duration, c.calls)
	turns := c.turns()
	var all sync.WaitGroup
	begun := time.Now()
	for range churnWorkers {
		all.Go(func() {
			buf := make([]byte, 512)
			for i := range turns {
				asked := time.Now()
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, nil)
				if err != nil || exchange(client, req, buf) != len(answer) {
					t.Errorf("call %d got no answer: %v", i, err)
				}
				latencies[i] = time.Since(asked)
			}
		})
	}
	all.Wait()
	return churned{
		opened: int(server.opened.Load()),
		closed: int(server.closed.Load()),
		rate:   float64(c.calls) / time.Since(begun).Seconds(),
		extra:  100 * float64(server.attempts.Load()-int64(c.calls)) / float64(c.calls),
		p99:    percentile(latencies, 0.99),
	}
}

// turns hands out the numbers of the calls, when it is their time.
func (c churn) turns() <-chan int {
	turns := make(chan int)
	go func() {
		defer close(turns)
		begun, clock := time.Now(), time.NewTicker(time.Millisecond)
		defer clock.Stop()
		for i := range c.calls {
			for c.pace > 0 && time.Since(begun) < time.Duration(i)*time.Second/time.Duration(c.pace) {
				<-clock.C // the load is the subject here: it comes in real time, whatever the calls take
			}
			turns <- i
		}
	}()
	return turns
}

// oftenSlow is a server that takes long for every twentieth attempt, unless
// the client leaves.
type oftenSlow struct {
	*httptest.Server

	opened, closed, attempts atomic.Int64
}

func newOftenSlow(t *testing.T) *oftenSlow {
	t.Helper()
	s := new(oftenSlow)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
		case http.StateClosed:
			s.closed.Add(1)
		default:
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // Losers leave in the middle of handshakes.
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *oftenSlow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.attempts.Add(1)%20 == 0 {
		timer := time.NewTimer(churnSlow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = w.Write([]byte(answer))
}
