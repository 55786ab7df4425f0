package route

import (
	"context"
	"net/http"
	"slices"
	"sync"
)

// pin is what a session has written of late.
type pin struct {
	position string // that a replica must have reached; "" if nothing but the primary will do
}

// session is what is known of the session of a request that is being served: its
// context, which finds itself. It is safe for concurrent use.
type session struct {
	context.Context

	writes *Writes
	outer  *session // of another store

	mu      sync.Mutex
	pin     *pin // nil if it has not written; what it points to does not change
	written bool // by this request, if it ends well
	marked  bool // by this request, for certain
	sent    bool // the header is on its way
}

type sessionKey struct{}

// Value makes the session its own value. Without it, the context would cost one
// allocation more for each request.
func (s *session) Value(key any) any {
	if key == (sessionKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// sessionOf returns the innermost session around ctx, or nil.
func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// pinOf returns what the session around ctx has written to a store, or nil.
func pinOf(ctx context.Context, store string) *pin {
	for s := sessionOf(ctx); s != nil; s = s.outer {
		if s.writes.cfg.Store == store {
			return s.pinned()
		}
	}
	return nil
}

func (s *session) pinned() *pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pin
}

// MarkDirty says that what is done under ctx, the context of a request that a Handler
// of Writes serves, has written to the stores, or to all that there are Handlers of if
// none is named. What the session reads from now on comes from the primary. Called
// before the header is sent, it holds for the next requests of the session, too. Where
// there is no such Handler it does nothing.
func MarkDirty(ctx context.Context, stores ...string) {
	for s := sessionOf(ctx); s != nil; s = s.outer {
		if len(stores) == 0 || slices.Contains(stores, s.writes.cfg.Store) {
			s.mark(ctx, "")
		}
	}
}

// MarkPosition is MarkDirty for a store whose position after the write is known, such
// as the number of the transaction in its log: a replica that has reached it may serve
// the session. Of several positions of a request the last one counts. One that is
// longer than 1 KiB counts as unknown.
func MarkPosition(ctx context.Context, store, position string) {
	for s := sessionOf(ctx); s != nil; s = s.outer {
		if s.writes.cfg.Store == store {
			s.mark(ctx, s.writes.fitting(ctx, position))
		}
	}
}

// IsDirty reports whether the session around ctx has just written to one of the stores,
// or to any if none is named. An answer that somebody has kept may be too old for it.
func IsDirty(ctx context.Context, stores ...string) bool {
	for s := sessionOf(ctx); s != nil; s = s.outer {
		if (len(stores) == 0 || slices.Contains(stores, s.writes.cfg.Store)) && s.pinned() != nil {
			return true
		}
	}
	return false
}

// Began and Hijacked make it what is told of the response. After a hijack there is no
// header for the cookie any more.
func (s *session) Began(int, http.Header) {}

// Hijacked is told that the connection was taken over.
func (s *session) Hijacked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
}

func (s *session) mark(ctx context.Context, position string) {
	s.mu.Lock()
	s.pin = &pin{position: position}
	s.marked = true
	late := s.sent
	s.mu.Unlock()
	if late {
		s.writes.tell(ctx, Event{Kind: MarkedLate, Reason: "the header has been sent"})
	}
}

// header sets the cookie if there was a write. It is called once, before the header is
// sent.
func (s *session) header(status int, header http.Header) {
	s.mu.Lock()
	s.sent = true
	wrote := s.marked || s.written && status < http.StatusBadRequest
	var position string
	if s.pin != nil {
		position = s.pin.position
	}
	s.mu.Unlock()
	if !wrote {
		return
	}
	if position == "" {
		position = s.writes.position(s)
	}
	s.writes.setCookie(header, position)
}
