package stale

import (
	"net/http"
	"time"
)

// Entry is what a [Store] keeps under a [Key]: a response, a list of variants,
// or a mark. It is immutable from the moment it has been handed to a Store or
// to the Cache; its maps and slices are shared by all who read it.
type Entry struct {
	// A response. Header is complete, with Date and Content-Length; fields that
	// belong to one connection are not in it. Body is the whole body.
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    []byte

	// Asked holds the fields of the request that the response varies by, in
	// their normal form.
	Asked string

	Sent     time.Time     // when the request for it was sent
	Received time.Time     // when its headers were there
	Took     time.Duration // until its body was
	Tags     []string      // what it can be purged by
	Purged   bool          // softly: fit for when the origin fails, and for nothing else

	// A list of the variants under the same primary key, latest first, instead
	// of a response.
	Variants []Variant

	// A mark, instead of a response.
	Mark *Mark

	// Expires is when nobody can use the entry for anything any more.
	Expires time.Time

	ready ready
}

// Variant says for which requests the response under a [Key] with this Variant
// is meant.
type Variant struct {
	Names []string // of the request's fields that count, sorted
	Asked string   // what was in them, in their normal form
	ID    string   // Key.Variant
}

// Mark is what the Cache remembers of a key without having a response.
type Mark struct {
	// PassUntil is until when requests go to the origin side by side, because
	// its answer was for one of them only (hit-for-miss).
	PassUntil time.Time

	// Failures counts the fetches that failed in a row, the latest at Failed.
	Failures int
	Failed   time.Time
	Wait     time.Duration // how long the origin is left alone since then
}

// Size is what the entry takes of a Store's budget: its bytes, and what it costs to
// keep them, as measured on a 64-bit machine.
func (e *Entry) Size() int64 {
	const (
		fixed = 640 // this struct, a place in the Store's tables, what is derived from it
		text  = 16  // the header of a string
		list  = 24  // of a slice
	)
	size := int64(fixed+len(e.Asked)) + sizeOfBody(int64(cap(e.Body)))
	size += sizeOfHeader(e.Header) + sizeOfHeader(e.Trailer)
	for _, tag := range e.Tags {
		size += int64(text + len(tag))
	}
	for _, v := range e.Variants {
		size += int64(2*text + list + len(v.Asked) + len(v.ID))
		for _, name := range v.Names {
			size += int64(text + len(name))
		}
	}
	return size
}

// sizeOfHeader counts the slots of a map, which come in powers of two and are at most
// seven eighths full, and the values.
func sizeOfHeader(header http.Header) int64 {
	if header == nil {
		return 0
	}
	const (
		table = 64
		slot  = 44
		value = 16
	)
	slots := 8
	for slots > 8 && 7*slots < 8*len(header) || slots == 8 && len(header) > 8 {
		slots *= 2
	}
	size := int64(table + slot*slots)
	for name, values := range header {
		size += int64(len(name))
		for _, v := range values {
			size += value + (int64(len(v))+15)&^15
		}
	}
	return size
}

// sizeOfBody rounds up as the allocator does.
func sizeOfBody(n int64) int64 {
	const large, page = 32 << 10, 8 << 10
	if n > large {
		return (n + page - 1) / page * page
	}
	return n + n/16
}
