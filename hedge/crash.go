package hedge

import (
	"errors"
	"runtime"
	"runtime/debug"
)

// crash is the end of a goroutine by a panic or by runtime.Goexit.
type crash struct {
	value any // of the panic; nil is Goexit
	stack []byte
}

func crashOf(value any) *crash { return &crash{value: value, stack: debug.Stack()} }

// err is the crash as events tell of it.
func (c *crash) err() error { return &PanicError{Value: c.value, Stack: c.stack} }

// abandon ends a call whose own goroutine is unwinding, and reports whether it
// was over before.
func (r *race[R]) abandon() (over bool) {
	r.mu.Lock()
	over = r.over
	if !over {
		r.finish(result[R]{})
	}
	r.mu.Unlock()
	r.dismiss()
	if !over {
		r.first.end()
		r.lose(nil, 0, errAbandoned)
	}
	return over
}

var errAbandoned = errors.New("hedge: another attempt panicked")

// contain takes a panic of an attempt in the caller's goroutine that another has
// overtaken, and returns the outcome. A Goexit cannot be contained.
func (r *race[R]) contain(l *lane, value any) result[R] {
	if value == nil {
		r.late(r.outcome)
		return result[R]{}
	}
	r.report(Event{Kind: Panicked, Attempt: l.number(), Err: crashOf(value).err()})
	return r.outcome
}

// surface lets the end of an attempt's goroutine become that of the caller's.
func (r *race[R]) surface(out *result[R]) {
	if out.crash == nil {
		return
	}
	out.lane.end()
	if out.crash.value == nil {
		runtime.Goexit()
	}
	panic(out.crash.value) //nolint:forbidigo // it is the attempt's panic, which the caller would have had without us
}
