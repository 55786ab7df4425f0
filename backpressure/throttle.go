package backpressure

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/keyed"
	"github.com/failsoft/failsoft/internal/outcome"
)

// Throttle holds requests back on the client, when the server refuses too many of
// them: what it would refuse costs it work, too. It is the adaptive throttling of
// Google's Site Reliability Engineering, chapter 21, with a Window of three seconds in
// place of two minutes, and one request in twenty that always goes through, to find out
// whether the server is well again.
//
// Some are still held back when it is: as a rule for one or two Windows after the last
// refusal, for up to five where nearly all were refused before, and for longer where
// requests have become fewer, as it is by them that it finds out.
//
// Where the server has classes, give the Throttle the same: see ThrottleConfig.Class. It
// tells the server of none. That takes the Transport of a Limiter, with a ClassHeader.
//
// All methods are safe for concurrent use.
type Throttle struct {
	cfg   ThrottleConfig
	begun time.Time
	cells [classes]*keyed.Map[throttleCell]
	draw  func() float64 // from [0,1)
}

// mostHeld is the largest part of the requests that is held back.
const mostHeld = 0.95

// NewThrottle returns a Throttle, or everything that is wrong with cfg.
func NewThrottle(cfg ThrottleConfig) (*Throttle, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := &Throttle{cfg: cfg, begun: time.Now(), draw: rand.Float64}
	// A map for each class, and not names of key and class: no key can be made to look
	// like another, and keys that share a cell, as there are too many, do so by class.
	for class := range t.cells {
		t.cells[class] = keyed.New(keyed.Config[throttleCell]{
			Max:    cfg.MaxKeys,
			New:    func(string) *throttleCell { return new(throttleCell) },
			Retire: func(c *throttleCell, now int64) bool { return c.atRest(now, cfg.Window) },
		})
	}
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
	const least, nearlyAll = 20, 0.9
	c.requests++
	c.answers++
	if accepted {
		c.accepts++
		if c.refusals < nearlyAll*c.answers {
			c.paused = 0 // what the server has asked for was before it was well again
		}
		return
	}
	c.refusals++
	if wait > 0 && cfg.MaxPause != Off && c.answers >= least && c.refusals >= nearlyAll*c.answers {
		c.paused = max(c.paused, now+int64(min(wait, cfg.MaxPause)))
	}
}

// Attempt is a request that may go. Done has to be called once, unless what became of
// it says nothing of the server. The zero Attempt counts nothing.
type Attempt struct {
	t     *Throttle
	key   string // and not its cell, which may be gone by the time of a late answer
	class Class
}

// Done says whether the server has accepted the request, and how long it wants to be
// left alone, or 0. It takes no Outcome, as a Permit does: latency means nothing here.
func (a Attempt) Done(accepted bool, retryAfter time.Duration) {
	if a.t != nil {
		now := a.t.now()
		a.t.cells[a.class].Get(a.key, now).answer(now, &a.t.cfg, accepted, retryAfter)
	}
}

func (t *Throttle) now() int64 { return int64(time.Since(t.begun)) }

// Allow reports whether a request under a key may go, or returns a *LimitedError.
func (t *Throttle) Allow(ctx context.Context, key string, class Class) (Attempt, error) {
	switch {
	case attempt.Background(ctx):
		class = Background
	case class >= classes:
		class = Default
	}
	now := t.now()
	after, why := t.cells[class].Get(key, now).ask(now, &t.cfg, t.draw())
	if why == 0 {
		return Attempt{t: t, key: key, class: class}, nil
	}
	err := &LimitedError{Key: key, Class: class, Refusal: why, After: jittered(after)}
	if t.cfg.Observe != nil {
		t.tell(ctx, Event{Kind: Refused, Key: key, Class: class, Refusal: why, Err: err})
	}
	return Attempt{}, err
}

func (t *Throttle) tell(ctx context.Context, e Event) {
	if t.cfg.Observe == nil {
		return
	}
	defer func() { _ = recover() }()
	t.cfg.Observe(ctx, e)
}

// Run calls fn if it may go. What fn's error says of the server is read from it: see
// ThrottleConfig.JudgeError.
func (t *Throttle) Run(ctx context.Context, key string, fn func(context.Context) error) error {
	a, err := t.Allow(ctx, key, ClassOf(ctx))
	if err != nil {
		return err
	}
	err = fn(ctx)
	wait, _ := outcome.Hint(err)
	a.settle(t.judgeError(ctx, err), wait)
	return err
}

// settle counts what became of a request.
func (a Attempt) settle(judged Outcome, wait time.Duration) {
	switch judged {
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
	switch {
	case err != nil:
		return throttleRule(ctx, err)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable:
		return Overload
	default:
		return Success
	}
}

func (t *Throttle) judgeError(ctx context.Context, err error) Outcome {
	if t.cfg.JudgeError != nil {
		if judged := t.cfg.JudgeError(err); judged != ByRule {
			return judged
		}
	}
	return throttleRule(ctx, err)
}

// throttleRule is the rule for errors, and for none.
func throttleRule(ctx context.Context, err error) Outcome {
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
