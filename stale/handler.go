package stale

import (
	"errors"
	"io"
	"net/http"
	"runtime"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/internal/rw"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// Handler returns a handler that is a shared cache in front of next. It belongs
// outside of what limits or breaks, and outside of routers that keep state in the
// request's context: what it asks next for may outlive the request.
//
// GET and HEAD requests run on a goroutine of their own, with a copy of the
// request and a ResponseWriter that cannot be hijacked, and are not canceled when
// their client leaves. Requests with a body, for a part, for an upgrade, for an
// event stream, of other methods, and those whose answers turned out to be for one
// user only, run as they would without the Cache.
func (c *Cache) Handler(next http.Handler) http.Handler { return &handler{c, next} }

type handler struct {
	cache *Cache
	next  http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	x := h.cache.newCall(req, h, &h.cache.server)
	if x.key == "" {
		h.pass(w, x)
		return
	}
	x.inform = func(i interim) { inform(w, i) }
	r := x.exchange()
	if r.flight != nil && r.leads {
		req.Pattern = r.flight.pattern // tracing names its spans so
	}
	switch {
	case r.entry != nil:
		x.writeEntry(w, &r)
	case r.flight != nil:
		x.writeFlight(w, &r)
	case r.inline:
		h.pass(w, x)
	default:
		x.writeError(w, r.err)
	}
}

// fetch runs the handler in a flight.
func (h *handler) fetch(fl *flight, req *http.Request) {
	w := newCapture(fl, req)
	defer func() {
		if !w.began { // it panics
			fl.pattern = req.Pattern
		}
	}()
	h.next.ServeHTTP(w, req)
	w.finish()
}

// pass runs the handler on the real writer, and reads along where the answer may
// be one for others.
func (h *handler) pass(w http.ResponseWriter, x *call) {
	x.c.counts.passed.Add(1)
	fl := x.alongside()
	req := x.req
	if fl != nil {
		req = req.WithContext(fl.ctx)
	}
	var to *fill
	var seen *rw.Response
	hooks := rw.Hooks{Header: func(status int, header http.Header) {
		if fl != nil {
			to = fl.headers(status, header.Clone()).fill
		}
		if to == nil {
			seen.SkipBody() // so that a file is sent as one
		}
		x.invalidates(status, header)
		x.sayPassed(status, header)
	}}
	if fl != nil && req.Method != http.MethodHead {
		hooks.Body = func(p []byte) {
			if to != nil && to.write(fl.ctx, p) != nil {
				to = nil // it has become too large
				seen.SkipBody()
			}
		}
	}
	returned := false
	w, seen = rw.Wrap(w, hooks)
	defer func() {
		x.req.Pattern = req.Pattern // and no MultipartForm: what has a body is not copied
		if !returned && fl != nil {
			fl.lost()
		}
	}()
	h.next.ServeHTTP(w, req)
	returned = true
	if seen.Status() == 0 && !seen.Hijacked() {
		w.WriteHeader(http.StatusOK)
	}
	if fl != nil && to != nil {
		fl.endOf(seen, w.Header())
	}
}

// writeFlight answers from a flight: what it brings goes to the client as it comes.
func (x *call) writeFlight(w http.ResponseWriter, r *reply) {
	res := &r.flight.res
	if r.leads && res.crash != nil {
		res.crash.surface()
	}
	if r.read == nil {
		x.writeError(w, res.err)
		return
	}
	defer r.read.close()
	header := w.Header()
	join(header, res.header)
	x.sayFlight(header, r)
	x.c.counts.missed(r)
	if policy.NotModified(x.req.Header, res.header, res.status) {
		notModified(w)
		return
	}
	controller := http.NewResponseController(w)
	seen := r.flight.deadlines.apply(controller, 0)
	w.WriteHeader(res.status)
	x.copyBody(w, controller, r, seen)
}

// copyBody follows the fill to its end. What breaks there breaks here.
func (x *call) copyBody(w http.ResponseWriter, controller *http.ResponseController, r *reply, seen int) {
	for {
		piece, flush, err := r.read.next(rt.CallerOf(x.req))
		seen = r.flight.deadlines.apply(controller, seen)
		if len(piece) > 0 {
			if _, broken := w.Write(piece); broken != nil {
				return // the client has left
			}
		}
		if flush {
			_ = controller.Flush()
		}
		if err != nil {
			x.ended(w, r, err)
			return
		}
	}
}

// ended takes the end of a body.
func (x *call) ended(w http.ResponseWriter, r *reply, err error) {
	if errors.Is(err, io.EOF) {
		setTrailer(w.Header(), r.read.fill.trailer)
		return
	}
	if x.req.Context().Err() != nil {
		return // the client has left
	}
	if down, ok := errors.AsType[*PanicError](err); ok && r.leads {
		(&crash{value: down.Value}).surface()
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http lets a handler break off its answer
}

// surface lets the end of a flight become that of its leader's goroutine.
func (c *crash) surface() {
	if c.value == nil {
		runtime.Goexit()
	}
	panic(c.value) //nolint:forbidigo // it is the handler's panic, which the client would have met without us
}

// writeError answers what there is no answer to.
func (x *call) writeError(w http.ResponseWriter, err error) {
	if x.req.Context().Err() != nil {
		return // nobody is there to read it
	}
	x.say(w.Header())
	after, hinted := outcome.Hint(err)
	switch {
	case hinted || errors.Is(err, ErrFailing):
		rw.Refuse(w, x.req, http.StatusServiceUnavailable, after, "temporarily unavailable")
	case errors.Is(err, errNotCached), outcome.IsTimeout(err):
		rw.Refuse(w, x.req, http.StatusGatewayTimeout, 0, "no answer in time")
	default:
		rw.Refuse(w, x.req, http.StatusBadGateway, 0, "no answer")
	}
}

// inform writes an informational response, between the fields of which and those of
// the final one there is nothing in common.
func inform(w http.ResponseWriter, i interim) {
	if i.deadlines != nil {
		i.deadlines.apply(http.NewResponseController(w), 0)
		return
	}
	header := w.Header()
	was := header.Clone()
	assign(header, i.header)
	w.WriteHeader(i.status)
	clear(header)
	assign(header, was)
}
