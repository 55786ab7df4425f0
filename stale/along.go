package stale

import (
	"io"
	"net/http"

	"github.com/failsoft/failsoft/internal/attempt"
	"github.com/failsoft/failsoft/internal/rw"
)

// alongside returns what judges, and perhaps stores, the answer to a request that
// the client makes for itself. It is no flight that anybody could join or wait for.
// It is nil where the answer could be of use to nobody.
func (x *call) alongside() *flight {
	if x.key == "" || x.ranged || x.req.Method == http.MethodHead {
		return nil
	}
	fl := x.c.newFlight(x, "")
	fl.inline = true
	fl.cancel = func(error) {}
	fl.ctx, fl.answer = attempt.WithAnswer(x.req.Context())
	fl.epoch, fl.held = x.c.store.epoch(fl.ctx)
	return fl
}

// lost is for a request alongside that ended by a panic.
func (fl *flight) lost() {
	switch {
	case !fl.known():
		fl.fail(errNoAnswer, nil)
	case fl.res.fill != nil:
		fl.end(nil, errNoAnswer)
	}
}

// endOf ends the body of an answer that a handler has written to its client.
func (fl *flight) endOf(seen *rw.Response, header http.Header) {
	err := seen.Err()
	if seen.Hijacked() { // and went on unseen
		err = errUnread
	}
	if length := lengthOf(fl.res.header); err == nil && length >= 0 && seen.Written() < length {
		err = io.ErrUnexpectedEOF
	}
	fl.end(trailerOf(fl.res.header, header), err)
}
