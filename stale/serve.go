package stale

import (
	"bytes"
	"maps"
	"net/http"
	"slices"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// writeEntry answers with an entry: whole, in part, or that it has not changed, as
// the client asks.
func (x *call) writeEntry(w http.ResponseWriter, r *reply) {
	e, header := r.entry, w.Header()
	join(header, e.Header)
	if _, typed := header["Content-Type"]; !typed {
		header["Content-Type"] = nil // the origin has not said, and nobody is to guess
	}
	x.sayEntry(header, r)
	x.c.counts.answered(r)
	x.tellAnswer(r)
	switch {
	case policy.NotModified(x.req.Header, e.Header, e.Status):
		notModified(w)
		return
	case x.ranged && e.Status == http.StatusOK:
		x.writePart(w, e)
		return
	case len(e.Trailer) > 0:
		announce(header, e.Trailer)
	}
	w.WriteHeader(e.Status)
	if x.req.Method == http.MethodHead {
		return
	}
	// An error means that the client has left, which is nobody's concern here.
	_, _ = w.Write(e.Body)
	setTrailer(header, e.Trailer)
}

// writePart answers a request for ranges. net/http knows all about them.
func (x *call) writePart(w http.ResponseWriter, e *Entry) {
	modified, _ := http.ParseTime(e.Header.Get("Last-Modified"))
	w.Header().Del("Content-Length")
	http.ServeContent(w, x.req, "", modified, bytes.NewReader(e.Body))
}

// notModified answers 304 with the fields of w's header that belong there.
func notModified(w http.ResponseWriter) {
	header := w.Header()
	kept := policy.Header304(header)
	clear(header)
	assign(header, kept)
	w.WriteHeader(http.StatusNotModified)
}

// assign sets the fields of from in to. The values are shared: none has room for
// another, so that who appends gets a copy.
func assign(to, from http.Header) {
	maps.Copy(to, from)
}

// join is assign for a header in which handlers further out may have set something
// already: of fields that one adds to, nothing is lost.
func join(to, from http.Header) {
	type sum struct {
		name   string
		values []string
	}
	var added []sum
	if len(to) > 0 {
		for _, name := range [...]string{"Set-Cookie", "Vary", "Link", "Server-Timing", "Www-Authenticate"} {
			if outer := to[name]; len(outer) > 0 && len(from[name]) > 0 {
				added = append(added, sum{name, slices.Concat(outer, from[name])})
			}
		}
	}
	assign(to, from)
	for _, s := range added {
		to[s.name] = s.values
	}
}
