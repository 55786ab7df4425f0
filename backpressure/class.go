package backpressure

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Class is how much it matters that a request is served.
type Class uint8

// The classes.
const (
	Default    Class = iota // what a user waits for
	Critical                // what must go on: payments, control, the requests of operators
	Sheddable               // what a user hardly misses: suggestions, prefetches
	Background              // what nobody waits for: refreshes, batches
	classes                 // how many there are
)

// String returns the class's name.
func (c Class) String() string { return name(c, "default", "critical", "sheddable", "background") }

// MarshalText makes a Class readable in JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

type classKey struct{}

// WithClass says how much the calls matter that are made under the context it returns:
// Transport, Do and Run of a Limiter go by it, and those of a Throttle, where no
// Config.Class says otherwise. A Handler with a ClassHeader says so for the requests it
// lets in.
func WithClass(ctx context.Context, c Class) context.Context {
	return context.WithValue(ctx, classKey{}, c)
}

// ClassOf returns what WithClass has said, or Default.
func ClassOf(ctx context.Context) Class {
	c, _ := ctx.Value(classKey{}).(Class)
	return c
}

// classIn is the class that a header field names, if it names just one.
func classIn(header http.Header, field string) (c Class, ok bool) {
	values := header.Values(field)
	if len(values) != 1 {
		return Default, false
	}
	for c = range classes {
		if strings.EqualFold(values[0], c.String()) {
			return c, true
		}
	}
	return Default, false
}

// nameClass writes a class into a header. Default needs no name.
func nameClass(header http.Header, field string, c Class) {
	if c == Default {
		header.Del(field)
		return
	}
	header.Set(field, c.String())
}

// lesser is the one that matters less.
func lesser(a, b Class) Class {
	if a.rank() > b.rank() {
		return a
	}
	return b
}

// demoted is the next lower class, for what is tried again. It does not become
// Background, as somebody does wait for it.
func (c Class) demoted() Class {
	switch c {
	case Critical:
		return Default
	case Background:
		return Background
	default:
		return Sheddable
	}
}

// rank is the place of a class in the order in which they are served, 0 the first. Who
// gives a class that does not exist gets the default.
func (c Class) rank() int {
	switch c {
	case Critical:
		return 0
	case Sheddable:
		return 2
	case Background:
		return 3
	default:
		return 1
	}
}

// cohorts is how many parts a class is shed in: so many that it is smooth.
const cohorts = 128

// trickle lets a Background request by a gate that is shut to its class, if none has
// been let by for a second: what nobody waits for has to be done some day.
type trickle struct{ last atomic.Int64 }

func (t *trickle) passes(req *request, now int64) bool {
	if req.class != Background {
		return false
	}
	last := t.last.Load()
	return now-last >= int64(time.Second) && t.last.CompareAndSwap(last, now)
}

// shares are the parts of the limit up to which the classes are let in: what is left
// above is there for who matters more. A class gives way by cohorts, from its own
// share down to that of the next.
var shares = [classes + 1]float64{1.1, 1, 0.9, 0.8, 0.7} //nolint:gochecknoglobals // a constant, but for Go's types

// share is the part of the limit up to which a request is let in. Those without a
// tenant have all of their class's, where there are none; see drawn.
func share(c Class, tenant uint64, known bool) float64 {
	rank := c.rank()
	if !known {
		return shares[rank]
	}
	within := float64(tenant%cohorts) / cohorts
	return shares[rank] + within*(shares[rank+1]-shares[rank])
}
