package backpressure

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/failsoft/failsoft/internal/keyed"
	"github.com/failsoft/failsoft/internal/outcome"
)

// The defaults of a ThrottleConfig.
const (
	DefaultThrottleRatio  = 2.0
	DefaultThrottleWindow = 3 * time.Second
	DefaultMaxPause       = 30 * time.Second
)

// ThrottleConfig says when a client holds its requests back. The zero ThrottleConfig
// is the default, meant for production.
type ThrottleConfig struct {
	// Key names whose refusals are counted together. Nil means the host.
	Key func(*http.Request) string `json:"-"`

	// Class says how much a request matters: each class is counted by itself, as a
	// server refuses the lesser ones first. Nil means what the context says, see
	// WithClass, which is Default if it says nothing.
	Class func(*http.Request) Class `json:"-"`

	// Judge says what an answer or error is; Overload is a refusal, Success is none,
	// Ignore does not count. Nil, or ByRule, means: 429 and 503 are refusals,
	// timeouts, too; what never reached the server and what the caller has left do
	// not count; the rest are none.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// Ratio is how many requests are made for each that is accepted, from 1.1. Less
	// spares the server more and needs longer to find out that it is well again. Zero
	// means 2.
	Ratio float64

	// Window is how long requests and answers are remembered: the time constant of an
	// exponential decay. Zero means 3 s.
	Window time.Duration

	// MaxPause bounds how long the server's Retry-After is heeded for all requests,
	// which is done only if at least nine of ten answers were refusals, out of at
	// least twenty. Zero means 30 s; or Off, to never do so.
	MaxPause time.Duration

	// MaxKeys bounds the keys, times classes. Zero means 1024.
	MaxKeys int

	// Observe is told of refusals. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// Throttle holds requests back on the client, when the server refuses too many of
// them: what it would refuse costs it work, too. It is the adaptive throttling of
// Google's Site Reliability Engineering, chapter 21, with a time constant short enough
// to see that the server is well again, and one request in twenty that always goes
// through to find out. All methods are safe for concurrent use.
type Throttle struct {
	cfg   ThrottleConfig
	begun time.Time
	cells *keyed.Map[throttleCell]
	draw  func() float64 // from [0,1)
}

// mostHeld is the largest part of the requests that is held back.
const mostHeld = 0.95

// NewThrottle returns a Throttle, or everything that is wrong with cfg.
func NewThrottle(cfg ThrottleConfig) (*Throttle, error) {
	cfg.Ratio = cmp.Or(cfg.Ratio, DefaultThrottleRatio)
	cfg.Window = cmp.Or(cfg.Window, DefaultThrottleWindow)
	cfg.MaxPause = cmp.Or(cfg.MaxPause, DefaultMaxPause)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	var wrong []error
	if !(cfg.Ratio >= 1.1 && cfg.Ratio <= 100) { // NaN is neither
		wrong = append(wrong, bad("ThrottleConfig.Ratio is %v, not from 1.1 to 100", cfg.Ratio))
	}
	if cfg.Window < 100*time.Millisecond || cfg.Window > longest {
		wrong = append(wrong, bad("ThrottleConfig.Window is %v, not from 100ms to %v", cfg.Window, longest))
	}
	if pause := cfg.MaxPause; pause != Off && (pause <= 0 || pause > longest) {
		wrong = append(wrong, bad("ThrottleConfig.MaxPause is %v, not above 0 and at most %v, nor Off", pause, longest))
	}
	if cfg.MaxKeys < 1 {
		wrong = append(wrong, bad("ThrottleConfig.MaxKeys is %d, not at least 1", cfg.MaxKeys))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	t := &Throttle{cfg: cfg, begun: time.Now(), draw: rand.Float64}
	t.cells = keyed.New(keyed.Config[throttleCell]{
		Max:    cfg.MaxKeys,
		New:    func(string) *throttleCell { return new(throttleCell) },
		Retire: func(c *throttleCell, now int64) bool { return c.atRest(now, cfg.Window) },
	})
	return t, nil
}

// MustNewThrottle is NewThrottle for package variables and examples: it panics where
// NewThrottle returns an error.
func MustNewThrottle(cfg ThrottleConfig) *Throttle {
	t, err := NewThrottle(cfg)
	if err != nil {
		panic(err)
	}
	return t
}

// throttleCell is what is remembered of one key and class. A request counts when it
// is answered, or held back: what is still under way would look as if it was refused,
// and whoever begins with ten at a time would be held back for it.
type throttleCell struct {
	mu       sync.Mutex
	last     int64 // when the numbers were last decayed
	requests float64
	accepts  float64
	answers  float64
	refusals float64
	paused   int64 // until when
}

func (c *throttleCell) atRest(now int64, window time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decay(now, window)
	return c.requests < 0.1 && now >= c.paused
}

// decay lets what was remembered fade.
func (c *throttleCell) decay(now int64, window time.Duration) {
	if now <= c.last {
		return
	}
	f := math.Exp(-float64(now-c.last) / float64(window))
	c.last = now
	c.requests, c.accepts, c.answers, c.refusals = f*c.requests, f*c.accepts, f*c.answers, f*c.refusals
}

// perSecond is how many requests go whatever was answered, so that a single refusal
// does not stop a client that asks now and then.
const perSecond = 1.0

// ask reports whether a request may go, by a draw from [0,1). One that may not is
// counted, too: or the part that goes would grow with the load.
func (c *throttleCell) ask(now int64, cfg *ThrottleConfig, draw float64) (after time.Duration, why Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decay(now, cfg.Window)
	free := perSecond * cfg.Window.Seconds()
	held := (c.requests - cfg.Ratio*c.accepts - free) / (c.requests + 1)
	switch {
	case now < c.paused && draw < mostHeld:
		c.requests++
		return time.Duration(c.paused - now), Paused
	case draw < min(held, mostHeld):
		c.requests++
		return cfg.Window / 3, Throttled
	default:
		return 0, 0
	}
}

// answer takes what a request was answered, and how long the server wants to be left
// alone.
func (c *throttleCell) answer(now int64, cfg *ThrottleConfig, accepted bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decay(now, cfg.Window)
	c.requests++
	c.answers++
	if accepted {
		c.accepts++
		return
	}
	c.refusals++
	const least, nearlyAll = 20, 0.9
	if wait > 0 && cfg.MaxPause != Off && c.answers >= least && c.refusals >= nearlyAll*c.answers {
		c.paused = max(c.paused, now+int64(min(wait, cfg.MaxPause)))
	}
}

// Attempt is a request that may go. Done has to be called. The zero Attempt counts
// nothing.
type Attempt struct {
	t    *Throttle
	cell *throttleCell
}

// Done says whether the server has accepted the request, and how long it wants to be
// left alone, or 0. A request that says nothing of the server is not reported.
func (a Attempt) Done(accepted bool, retryAfter time.Duration) {
	if a.t != nil {
		a.cell.answer(a.t.now(), &a.t.cfg, accepted, retryAfter)
	}
}

func (t *Throttle) now() int64 { return int64(time.Since(t.begun)) }

// Allow reports whether a request under a key may go, or returns a *LimitedError.
func (t *Throttle) Allow(ctx context.Context, key string, class Class) (Attempt, error) {
	now := t.now()
	name := key
	if class != Default { // which most are
		name += "\x00" + class.String()
	}
	cell := t.cells.Get(name, now)
	after, why := cell.ask(now, &t.cfg, t.draw())
	if why == 0 {
		return Attempt{t, cell}, nil
	}
	err := &LimitedError{Key: key, Class: class, Reason: why, After: jittered(after)}
	if t.cfg.Observe != nil {
		t.tell(ctx, Event{Kind: Refused, Key: key, Class: class, Refusal: why, Err: err})
	}
	return Attempt{}, err
}

func (t *Throttle) tell(ctx context.Context, e Event) {
	defer func() { _ = recover() }()
	t.cfg.Observe(ctx, e)
}

// Run calls fn if it may go. What fn's error says of the server is read from it:
// Config.Judge, or that errors with a RetryAfter method are refusals.
func (t *Throttle) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	a, err := t.Allow(ctx, key, ClassOf(ctx))
	if err != nil {
		return err
	}
	err = fn(ctx)
	a.settle(ctx, nil, err, time.Now())
	return err
}

// settle counts what became of a request.
func (a Attempt) settle(ctx context.Context, resp *http.Response, err error, now time.Time) {
	var wait time.Duration
	if resp != nil {
		wait, _ = outcome.RetryAfter(resp.Header, now)
	} else {
		wait, _ = outcome.Hint(err)
	}
	switch a.t.judge(ctx, resp, err) {
	case Overload:
		a.Done(false, wait)
	case Success:
		a.Done(true, 0)
	case Ignore, ByRule:
	}
}

func (t *Throttle) judge(ctx context.Context, resp *http.Response, err error) Outcome {
	if t.cfg.Judge != nil {
		if judged := t.cfg.Judge(resp, err); judged != ByRule {
			return judged
		}
	}
	if err == nil && resp != nil {
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
			return Overload
		}
		return Success
	}
	switch outcome.OfError(ctx, err) {
	case outcome.Timeout:
		return Overload
	case outcome.Canceled, outcome.Unsent, outcome.Refused:
		return Ignore
	default:
		if _, hinted := outcome.Hint(err); hinted {
			return Overload
		}
		return Success // an answer, if none that anybody wanted
	}
}
