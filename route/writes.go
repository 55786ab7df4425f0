package route

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/rw"
)

// Writes recognizes the sessions that have just written to a store, so that they read
// from its primary: replicas may not have what was written yet. All methods are safe
// for concurrent use.
//
// Its Handler stands around an application whose requests to the store go through a
// Pool, under the context of the request that is being served. A write is marked by a
// cookie, so that it does not matter which server the next request of the session
// reaches.
//
// # What counts as a write
//
// A request with a method that is not safe (neither GET, HEAD, OPTIONS nor TRACE),
// unless its answer is an error (400 and above); and one of any method and answer for
// which [MarkDirty] or [MarkPosition] was called before the header was sent. What is
// read while such a request is served comes from the primary as well. The cookie is
// set once per write; reads do not renew it. WritesConfig.OnlyReads is for methods that
// do not say what a request does.
//
// A write whose answer is an error may have been done all the same, such as one that
// took too long: call MarkDirty where that can be. Of two writes of a session at the
// same time, the cookie of the answer that comes last counts, and so does its position.
//
// # The cookie
//
// It is HttpOnly, SameSite=Lax, Secure unless Insecure, for Path=/ and with Max-Age.
// Its value is signed, not encrypted: who has the cookie can read the position. One
// that is not ours, was changed or has expired is ignored, as if it were not there. A
// client that keeps no cookies reads what anybody reads.
//
// It is not bound to a user. Who copies one, or sends one again, reads from the primary
// until twice PinFor after the write, and so does who writes: what limits the load of
// either is a limit of requests. Services on the same host name whose stores or secrets
// differ need other names for it, as each would replace the cookie of the others.
//
// # Caches
//
// An answer that sets the cookie says Cache-Control: private, whatever else it says, and
// nothing to CDNs (CDN-Cache-Control, Surrogate-Control), as others are not to get that
// cookie. A shared cache of package stale stores none that sets a cookie anyway,
// and answers a request with a cookie only by what is public by its own words: that
// can be older than the write. What must be read after a write should not be public.
// To list the cookie among stale's IgnoreCookies would answer those who have just
// written from the cache, as anybody else. A cache on the client side, outside of the
// Pool, does not know of cookies: set Cache-Control: no-cache on a request for which
// [IsDirty] is true.
type Writes struct {
	cfg    WritesConfig
	signer *signer
}

// NewWrites returns a Writes, or everything that is wrong with cfg.
func NewWrites(cfg WritesConfig) (*Writes, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	signer, err := newSigner(cfg.Secrets, cfg.Cookie, cfg.Store)
	if err != nil {
		return nil, err
	}
	cfg.Secrets = nil // no more than the keys is needed
	return &Writes{cfg: cfg, signer: signer}, nil
}

// MustNewWrites is NewWrites for package variables and examples: it panics where
// NewWrites returns an error.
func MustNewWrites(cfg WritesConfig) *Writes {
	w, err := NewWrites(cfg)
	if err != nil {
		panic(err)
	}
	return w
}

// Handler returns a handler that calls next, under a context in which a Pool of the
// same store finds whether the session has written.
//
// Handlers of several stores nest. A write counts for each of them, and marks them all,
// as none knows what next does with it. Their OnlyReads say what is for which store, such
// as a POST to /orders,
//
//	OnlyReads: func(r *http.Request) bool {
//		return r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/orders")
//	},
//
// or always return true, and next calls MarkDirty(ctx, "orders") when it has written.
func (w *Writes) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, req *http.Request) {
		s := w.session(req)
		wrapped, seen := rw.Wrap(writer, rw.Hooks{Header: s.header, Watch: s})
		inner := req.WithContext(s)
		status := http.StatusInternalServerError // what a middleware makes of a panic
		defer func() {
			req.Pattern = inner.Pattern // which a ServeMux in next has set, for those further out
			if req.MultipartForm == nil {
				req.MultipartForm = inner.MultipartForm // the server removes its files, of the request that it knows
			}
			if seen.Status() == 0 && !seen.Hijacked() {
				s.header(status, writer.Header())
			}
		}()
		next.ServeHTTP(wrapped, inner)
		status = http.StatusOK // net/http writes it if nobody else does
	})
}

// maxCookies is how many cookies of its name are looked at: more than one come from
// other paths or domains, and hundreds from somebody who wants us to compute.
const maxCookies = 4

// session begins the session of a request.
func (w *Writes) session(req *http.Request) *session {
	ctx := req.Context()
	s := &session{Context: ctx, writes: w, outer: sessionOf(ctx)}
	if !onlyReads(w.cfg.OnlyReads, req) {
		s.written = true
		s.pin = &pin{}
		return s // whatever its cookie says, it does not say less
	}
	for i, cookie := range req.CookiesNamed(w.cfg.Cookie) {
		if i == maxCookies {
			break
		}
		position, err := w.signer.open(cookie.Value, time.Now())
		if err == nil {
			s.pin = &pin{position: position}
			break
		}
		w.tell(ctx, Event{Kind: CookieIgnored, Err: err})
	}
	return s
}

// setCookie marks the session.
func (w *Writes) setCookie(header http.Header, position string) {
	cookie := http.Cookie{ //nolint:gosec // Secure unless the user says otherwise
		Name:     w.cfg.Cookie,
		Value:    w.signer.seal(time.Now().Add(2*w.cfg.PinFor), position),
		Path:     "/",
		MaxAge:   int((w.cfg.PinFor + time.Second - 1) / time.Second),
		HttpOnly: true,
		Secure:   !w.cfg.Insecure,
		SameSite: http.SameSiteLaxMode,
	}
	header.Add("Set-Cookie", cookie.String())
	header.Set("Cache-Control", private(header["Cache-Control"]))
	header.Del("CDN-Cache-Control") // these overrule it
	header.Del("Surrogate-Control")
}

// private returns a Cache-Control that begins with private, and says it once if Handlers
// nest. It is one line, and private is first: there are caches that look no further.
func private(lines []string) string {
	all := strings.Join(lines, ", ")
	switch first, _, _ := strings.Cut(all, ","); {
	case all == "":
		return "private"
	case strings.EqualFold(strings.TrimSpace(first), "private"):
		return all
	default:
		return "private, " + all
	}
}

// position asks the user. A func that panics does not know.
func (w *Writes) position(ctx context.Context) (position string) {
	if w.cfg.Position == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			position = ""
			w.tell(ctx, Event{Kind: PositionIgnored, Reason: "WritesConfig.Position panicked"})
		}
	}()
	return w.fitting(ctx, w.cfg.Position(ctx))
}

// fitting is the position, unless it is too long for a cookie: then time alone ends
// the pin.
func (w *Writes) fitting(ctx context.Context, position string) string {
	if len(position) <= maxPosition {
		return position
	}
	w.tell(ctx, Event{Kind: PositionIgnored, Reason: "it is longer than 1 KiB"})
	return ""
}

func (w *Writes) tell(ctx context.Context, e Event) { tell(ctx, w.cfg.Observe, e) }
