package stale

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// ready is what the Cache derives from an entry once, so that a hit is a matter of
// assigning header values and writing one slice.
type ready struct {
	at atomic.Pointer[derived]
}

type derived struct {
	terms policy.Terms
	hits  atomic.Int64
	stamp atomic.Pointer[stamp]
}

// stamp holds what a hit says of its age, which changes once per second.
type stamp struct {
	age, ttl int64
	header   []string // Age
	status   []string // Cache-Status, where nothing stands before it
}

// clone returns a copy of the entry that has nothing derived yet.
func (e *Entry) clone() *Entry {
	return &Entry{
		Status: e.Status, Header: e.Header, Trailer: e.Trailer, Body: e.Body, Asked: e.Asked,
		Sent: e.Sent, Received: e.Received, Took: e.Took, Tags: e.Tags, Purged: e.Purged,
		Variants: e.Variants, Mark: e.Mark, Expires: e.Expires,
	}
}

// isResponse reports whether the entry is a response that can be written. Others
// than lists and marks come only from a Store that returns garbage.
func (e *Entry) isResponse() bool {
	length := lengthOf(e.Header)
	return e.Mark == nil && e.Header != nil && 200 <= e.Status && e.Status <= 599 &&
		(length < 0 || length == int64(len(e.Body)))
}

// derive returns what follows from the entry under rules. The first to ask does
// the work; entries of a remote Store come without.
func (e *Entry) derive(rules *policy.Rules) *derived {
	if d := e.ready.at.Load(); d != nil {
		return d
	}
	d := &derived{terms: policy.Read(*rules, http.MethodGet, nil, e.Status, e.Header, e.Sent, e.Received)}
	if !e.ready.at.CompareAndSwap(nil, d) {
		return e.ready.at.Load()
	}
	return d
}

// stampAt returns what to say of an age and a time to live.
func (d *derived) stampAt(name string, age, ttl time.Duration) *stamp {
	a, l := int64(age/time.Second), floorSeconds(ttl)
	if s := d.stamp.Load(); s != nil && s.age == a && s.ttl == l {
		return s
	}
	s := &stamp{
		age: a, ttl: l,
		header: []string{strconv.FormatInt(a, 10)},
		status: []string{name + "; hit; ttl=" + strconv.FormatInt(l, 10)},
	}
	d.stamp.Store(s)
	return s
}

// floorSeconds rounds down: half a second past its time is -1.
func floorSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		s--
	}
	return s
}
