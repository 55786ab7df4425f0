// Package attempt carries, in the context, what a layer below a retry or a
// hedge may want to know of the call it is part of: which attempt this is,
// which hosts were tried already, whether anybody waits for the answer.
//
// The policies meet here without importing each other: retry and hedge write,
// route, budget, backpressure and telemetry read. A context without a mark
// means attempt 1, no host tried, somebody waiting, so that the first attempt
// of every call costs no allocation.
//
// Everything here is safe for concurrent use.
package attempt

import "context"

// mark is what one context says of the attempt that it belongs to. It is
// immutable once it stands in a context, but for hosts, which locks itself.
type mark struct {
	retry, hedge int // attempt numbers, counted from 1
	hosts        *Hosts
}

type markKey struct{}

func of(ctx context.Context) mark {
	if m, ok := ctx.Value(markKey{}).(*mark); ok {
		return *m
	}
	return mark{retry: 1, hedge: 1}
}

// Retry returns the number of the retry attempt that ctx belongs to, counted
// from 1.
func Retry(ctx context.Context) int { return of(ctx).retry }

// Hedge returns the number of the hedged attempt that ctx belongs to, counted
// from 1.
func Hedge(ctx context.Context) int { return of(ctx).hedge }

// Extra reports whether ctx belongs to an attempt that an outer policy added:
// it is load, but not demand, and so earns no budget.
func Extra(ctx context.Context) bool {
	m, ok := ctx.Value(markKey{}).(*mark) // not of(ctx): every deposit asks, most find nothing
	return ok && (m.retry > 1 || m.hedge > 1)
}

// Tried returns the hosts that earlier attempts of the same call went to, or
// nil where nobody keeps them. A nil *Hosts is an empty set.
func Tried(ctx context.Context) *Hosts { return of(ctx).hosts }

// WithRetry marks ctx as the retry attempt number n. The hedge number of an
// outer policy stays; hosts, where not nil, takes the place of the set in ctx.
func WithRetry(ctx context.Context, n int, hosts *Hosts) context.Context {
	m := of(ctx)
	m.retry = n
	return m.in(ctx, hosts)
}

// WithHedge marks ctx as the hedged attempt number n. The retry number of an
// outer policy stays; hosts, where not nil, takes the place of the set in ctx.
func WithHedge(ctx context.Context, n int, hosts *Hosts) context.Context {
	m := of(ctx)
	m.hedge = n
	return m.in(ctx, hosts)
}

func (m mark) in(ctx context.Context, hosts *Hosts) context.Context {
	if hosts != nil {
		m.hosts = hosts
	}
	return context.WithValue(ctx, markKey{}, &m)
}

type backgroundKey struct{}

// WithBackground marks ctx as work that nobody waits for, such as the refresh
// of a cache entry: the first to be shed.
func WithBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// Background reports whether nobody waits for the work under ctx.
func Background(ctx context.Context) bool {
	marked, _ := ctx.Value(backgroundKey{}).(bool)
	return marked
}

// Hedged is a context marked as a hedged attempt, for those who allocate a struct
// per attempt anyway: embed it, and the mark costs nothing more. Its zero value is
// of no use; see Hedging.
type Hedged struct {
	context.Context

	mark mark
}

// Hedging is WithHedge for a struct that embeds the context.
func Hedging(ctx context.Context, n int, hosts *Hosts) Hedged {
	m := of(ctx)
	m.hedge = n
	if hosts != nil {
		m.hosts = hosts
	}
	return Hedged{ctx, m}
}

// Value returns the mark to those of this package who ask, and what the context
// below has to all others.
func (h *Hedged) Value(key any) any {
	if key == (markKey{}) {
		return &h.mark
	}
	return h.Context.Value(key)
}
