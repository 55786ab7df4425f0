package rttest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// TB is what a clause asks of the test that runs it. *testing.T satisfies it, and so does
// [Recorder]; [testing.TB] cannot be used, as nothing outside of package testing may implement it.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(fn func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	FailNow()
	Failed() bool
}

// Fails runs a clause against a broken twin and fails t unless the clause reports a failure.
// It returns everything that was reported, so that the caller can check that the clause failed for
// the right reason and not because the twin was too broken to be judged.
//
// The clause gets a goroutine of its own; its FailNow, its panics and its runtime.Goexit end there.
// Fails may be called inside a synctest bubble. A clause that may leave goroutines behind must open
// its bubble itself, with [Bubble]: only then is the deadlock that ends the bubble contained too.
func Fails(t *testing.T, run func(TB)) string {
	t.Helper()

	rec := newRecorder(t)
	rec.run(run)

	if !rec.Failed() {
		t.Errorf("rttest: the clause passed although the twin is broken")
	}

	return rec.String()
}

// Recorder is a [TB] that writes failures down instead of failing the test around it.
// It is safe for concurrent use, except for FailNow and Fatalf, which end the goroutine they are
// called on and hence belong to the goroutine of the clause.
type Recorder struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // It is what Context returns, as in testing.T.
	cancel context.CancelFunc

	mu       sync.Mutex
	reports  []string
	failed   bool
	stopped  bool
	cleanups []func()
}

func newRecorder(t *testing.T) *Recorder {
	t.Helper()
	// The context of t would not do as a parent: t may live outside of the bubble that r is made in.
	ctx, cancel := context.WithCancel(context.Background())

	return &Recorder{t: t, ctx: ctx, cancel: cancel}
}

// Helper does nothing: reports carry no line numbers.
func (r *Recorder) Helper() {}

// Name returns the name of the test around the recorder.
func (r *Recorder) Name() string { return r.t.Name() }

// Context returns a context that ends just before the cleanups run.
func (r *Recorder) Context() context.Context { return r.ctx }

// Cleanup registers a function to be called when the clause has ended, last one first.
func (r *Recorder) Cleanup(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.cleanups = append(r.cleanups, fn)
}

// Logf drops its message: what a clause logs explains failures, and here failures are expected.
func (r *Recorder) Logf(string, ...any) {}

// Errorf writes a failure down.
func (r *Recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.failed = true
	r.reports = append(r.reports, fmt.Sprintf(format, args...))
}

// Fatalf writes a failure down and ends the clause.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

// FailNow marks the clause as failed and ends it.
func (r *Recorder) FailNow() {
	r.mu.Lock()
	r.failed, r.stopped = true, true
	r.mu.Unlock()

	runtime.Goexit()
}

// Failed says whether a failure was reported.
func (r *Recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.failed
}

// String returns every failure reported so far, one a line.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()

	return strings.Join(r.reports, "\n")
}

// run runs a clause and its cleanups, and returns when both have ended.
func (r *Recorder) run(clause func(TB)) {
	r.contain(func() { clause(r) })
	r.cancel()

	for fn := r.popCleanup(); fn != nil; fn = r.popCleanup() {
		r.contain(fn)
	}
}

func (r *Recorder) popCleanup() func() {
	r.mu.Lock()
	defer r.mu.Unlock()

	last := len(r.cleanups) - 1
	if last < 0 {
		return nil
	}

	fn := r.cleanups[last]
	r.cleanups = r.cleanups[:last]

	return fn
}

// contain runs fn on a goroutine of its own, because only there can runtime.Goexit be outlived.
func (r *Recorder) contain(fn func()) {
	done := make(chan struct{})

	go func() {
		defer close(done)

		returned := false

		defer func() {
			if v := recover(); v != nil {
				r.Errorf("panic: %v\n%s", v, debug.Stack())
			} else if !returned && !r.hasStopped() {
				r.Errorf("runtime.Goexit without a failure reported")
			}
		}()

		fn()

		returned = true
	}()

	<-done
}

func (r *Recorder) hasStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.stopped
}
