package bench_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/bench"
)

const notThere = "n/a"

// scenario is a row of the behavior matrix. Its run says in two or three words
// what a breaker did; ours has to do as it should.
type scenario struct {
	name   string
	should string
	window time.Duration
	server server // that HTTP goes to, for the scenarios that are about it
	http   bool
	run    func(c subject) string
}

// subject is what goes through a scenario.
type subject struct {
	bench.Circuit

	server *server
}

func scenarios() []scenario {
	const window = 10 * time.Second
	return []scenario{
		{name: "100 arrivals in half-open, cap 1: admitted", should: "1", window: window, run: arrivals},
		{name: "hung probe", should: "recovers", window: window, run: hungProbe},
		{name: "probe panics", should: "recovers", window: window, run: panickingProbe},
		{name: "success from before the outage, in half-open", should: "ignored", window: window, run: staleSuccess},
		{name: "calls that fail after 6 s, window 5 s", should: "opens", window: window / 2, run: slowFailures},
		{name: "one failure per 3 s, limit 10 in a row", should: "opens", window: window, run: rareFailures},
		{name: "20 calls canceled by their caller", should: "closed", window: window, run: cancellations},
		{name: "50 × 503", should: "open", window: window, http: true, run: fifty},
		{
			name: "50 bodies that break off", should: "open", window: window, http: true, run: fifty,
			server: server{breaksOff: true},
		},
		{
			name: "503 with Retry-After: 30", should: "waits", window: window, http: true, run: waits,
			server: server{retryAfter: func() string { return "30" }},
		},
		{
			name: "503 with Retry-After: a date in 30 s", should: "waits", window: window, http: true, run: waits,
			server: server{retryAfter: inThirtySeconds},
		},
	}
}

func inThirtySeconds() string { return time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat) }

// What breakers do where it matters, in virtual time.
func TestBreakerBehavior(t *testing.T) {
	tab := &table{name: "breaker behavior"}
	head := []string{""}
	for _, b := range bench.Breakers() {
		head = append(head, b.Name)
	}
	tab.row(head...)
	all := func(name, should string, observe func(*testing.T, bench.Breaker) string) {
		row := []string{name}
		for i, b := range bench.Breakers() {
			saw := observe(t, b)
			if i == 0 {
				assert.Equal(t, should, saw, name)
			}
			row = append(row, saw)
		}
		tab.row(row...)
	}
	for _, s := range scenarios() {
		all(s.name, s.should, s.observe)
	}
	all("listener asks for the state", "answered", listenerAsks)
	all("listener panics", "contained", listenerPanics)
	tab.publish(t)
}

// observe lets b go through s, tuned as well where that changes something.
func (s scenario) observe(t *testing.T, b bench.Breaker) string {
	t.Helper()
	saw := s.once(t, b, false)
	if !b.Tunes {
		return saw
	}
	if tuned := s.once(t, b, true); tuned != saw {
		return saw + "; tuned: " + tuned
	}
	return saw
}

func (s scenario) once(t *testing.T, b bench.Breaker, tuned bool) (saw string) {
	t.Helper()
	t.Run(s.name+"/"+b.Name+"/tuned="+strconv.FormatBool(tuned), func(t *testing.T) {
		synctest.Test(t, func(*testing.T) {
			target := s.server
			c := b.New(bench.CircuitConfig{Window: s.window, Tuned: tuned}, &target)
			if s.http && c.RoundTrip == nil {
				saw = notThere
				return
			}
			saw = s.run(subject{c, &target})
			time.Sleep(time.Minute) // A bubble wants all goroutines to end: calls under way, timers of rivals.
		})
	})
	return saw
}

var errDown = errors.New("down")

func down(context.Context) error { return errDown }

func fine(context.Context) error { return nil }

// tripped opens c by failures one after the other.
func tripped(c subject) {
	for range 100 {
		if c.State() == "open" {
			return
		}
		_ = c.Run(context.Background(), down)
	}
	panic("a circuit does not open")
}

// halfOpened opens c and waits until it lets a probe pass.
func halfOpened(c subject) {
	tripped(c)
	time.Sleep(time.Second + 10*time.Millisecond)
}

// recovery asks every 100 ms for 10 min, of a dependency that is well.
func recovery(c subject) string {
	for range 6000 {
		if err := c.Run(context.Background(), fine); err == nil && c.State() == "closed" {
			return "recovers"
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "never recovers"
}

func arrivals(c subject) string {
	halfOpened(c)
	gate := make(chan struct{})
	defer close(gate)
	var admitted atomic.Int64
	for range 100 {
		go func() {
			_ = c.Run(context.Background(), func(context.Context) error {
				admitted.Add(1)
				<-gate
				return nil
			})
		}()
	}
	synctest.Wait()
	return strconv.FormatInt(admitted.Load(), 10)
}

// hang makes a call that ends well when gate is closed.
func hang(c subject, gate <-chan struct{}) {
	go func() {
		_ = c.Run(context.Background(), func(context.Context) error {
			<-gate
			return nil
		})
	}()
	synctest.Wait()
}

func hungProbe(c subject) string {
	halfOpened(c)
	gate := make(chan struct{})
	defer close(gate)
	hang(c, gate)
	return recovery(c)
}

func panickingProbe(c subject) string {
	halfOpened(c)
	func() {
		defer func() { _ = recover() }() // As net/http does for its handlers.
		_ = c.Run(context.Background(), func(context.Context) error { panic("probe") })
	}()
	return recovery(c)
}

func staleSuccess(c subject) string {
	stale, gate := make(chan struct{}), make(chan struct{})
	defer close(gate)
	hang(c, stale)
	halfOpened(c)
	hang(c, gate)
	close(stale)
	synctest.Wait()
	if c.State() == "closed" {
		return "closes"
	}
	return "ignored"
}

func slowFailures(c subject) string {
	for range 1000 {
		go func() {
			_ = c.Run(context.Background(), func(context.Context) error {
				time.Sleep(6 * time.Second)
				return errDown
			})
		}()
		time.Sleep(50 * time.Millisecond)
		if c.State() == "open" {
			return "opens"
		}
	}
	return "never opens"
}

func rareFailures(c subject) string {
	for range 200 {
		_ = c.Run(context.Background(), down)
		if c.State() == "open" {
			return "opens"
		}
		time.Sleep(3 * time.Second)
	}
	return "never opens"
}

func cancellations(c subject) string {
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		_ = c.Run(ctx, func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		})
	}
	return c.State()
}

// get sends a request and reads what there is to read.
func get(c subject) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
	if err != nil {
		panic(err)
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

func fifty(c subject) string {
	for range 50 {
		get(c)
	}
	return c.State()
}

// waits says whether a circuit lets nothing pass for as long as the server has
// asked. What counts is what reaches the server.
func waits(c subject) string {
	for range 50 {
		if get(c); c.State() == "open" {
			break
		}
	}
	if c.State() != "open" {
		return "never opens"
	}
	opened, before := time.Now(), c.server.attempts
	for c.server.attempts == before && time.Since(opened) < 2*time.Minute {
		time.Sleep(100 * time.Millisecond)
		get(c)
	}
	if wait := time.Since(opened); wait < 29*time.Second || wait > 31*time.Second {
		return "ignores it"
	}
	return "waits"
}

// server answers 503, with what retryAfter says, or 200 with a body that ends
// before it is whole.
type server struct {
	retryAfter func() string
	breaksOff  bool
	attempts   int
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.attempts++
	resp := &http.Response{
		StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: req,
	}
	if s.breaksOff {
		resp.StatusCode, resp.Body = http.StatusOK, io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	if s.retryAfter != nil {
		resp.Header.Set("Retry-After", s.retryAfter())
	}
	return resp, nil
}
