package breaker

import (
	"context"
	"fmt"
	"net/http"

	"github.com/failsoft/failsoft/internal/keyed"
)

// AdminConfig says who may do what at Breaker.Admin.
type AdminConfig struct {
	// Authorize reports whether a request may change circuits. Nil means that
	// nobody may. It is asked for every command, and when the page is read, which
	// shows forms only to those who may use them. A panic in it is a no.
	Authorize func(*http.Request) bool `json:"-"`

	_ struct{}
}

// Admin returns a handler that shows the circuits: as a page, or as JSON to who
// accepts application/json or asks with ?format=json. Durations in the JSON are
// text for time.ParseDuration, an override with a ttl of 0s holds until it is
// lifted. The page works at any path, and loads nothing else. It shows keys and
// errors to whoever can read it: put it where only operators come.
//
// Where cfg.Authorize agrees, a POST takes commands, as a form or as JSON:
//
//	{"key": "prices.example.com", "command": "isolate", "reason": "moving house", "ttl": "15m"}
//
//	isolate, force-closed, shadow    the modes of Override; reason, ttl are optional, but isolate needs a reason
//	release                          lifts them; reason is optional
//	trip, reset                      as the methods of Breaker
//
// The circuit must exist: a mistyped key is a 404 and not one circuit more. A
// form is answered by a redirect to the page, JSON (or who accepts it) by the
// circuit's new state. Browsers can send commands from pages of the same origin
// only. Authorize must know the sender from something that others cannot send,
// such as a session or a client certificate: what has no browser's headers has
// no origin either.
func (b *Breaker) Admin(cfg AdminConfig) http.Handler {
	return &admin{breaker: b, authorize: cfg.Authorize, page: newPage()}
}

type admin struct {
	breaker   *Breaker
	authorize func(*http.Request) bool
	origins   http.CrossOriginProtection
	page      page
}

// ServeHTTP shows the circuits or takes a command.
func (a *admin) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", a.page.policy)
	// Under no-referrer, which some set for the whole site, browsers would send
	// the page's own forms with a null Origin.
	header.Set("Referrer-Policy", "same-origin")

	switch {
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		a.list(w, req)
	case req.Method == http.MethodPost && a.authorize != nil:
		a.take(w, req)
	default:
		allowed := "GET, HEAD"
		if a.authorize != nil {
			allowed += ", POST"
		}
		header.Set("Allow", allowed)
		writeError(w, req, http.StatusMethodNotAllowed, bad("method %s is not one of %s", req.Method, allowed))
	}
}

func (a *admin) list(w http.ResponseWriter, req *http.Request) {
	list := viewList(a.breaker.Snapshot())
	if wantsJSON(req) {
		writeJSON(w, req, http.StatusOK, list)
		return
	}
	var commands []string
	if yes, _ := a.authorized(req); yes {
		commands = orders()
	}
	a.page.write(w, req, list, commands)
}

// take reads a command and obeys it. The origin comes first, so that Authorize
// never hears of what another site makes a browser send.
func (a *admin) take(w http.ResponseWriter, req *http.Request) {
	if err := a.origins.Check(req); err != nil {
		writeError(w, req, http.StatusForbidden, bad("refused: the command comes from another origin"))
		return
	}
	req = req.WithContext(req.Context()) // a copy: its body is replaced
	body, err := readBody(w, req)
	if err != nil {
		writeError(w, req, statusOf(err), err)
		return
	}
	yes, err := a.authorized(req)
	switch {
	case err != nil:
		writeError(w, req, http.StatusInternalServerError, err)
		return
	case !yes:
		writeError(w, req, http.StatusForbidden, bad("refused: not authorized"))
		return
	}
	shot, err := a.obey(req, body)
	switch {
	case err != nil:
		writeError(w, req, statusOf(err), err)
	case hasJSON(req) || wantsJSON(req):
		writeJSON(w, req, http.StatusOK, viewCircuit(shot))
	default:
		// Relative, because this handler does not know where it is mounted.
		w.Header().Set("Location", "?"+req.URL.RawQuery)
		w.WriteHeader(http.StatusSeeOther)
	}
}

// authorized asks Authorize. Its panic is contained, and is an error.
func (a *admin) authorized(req *http.Request) (yes bool, err error) {
	if a.authorize == nil {
		return false, nil
	}
	defer func() {
		if recover() != nil {
			yes, err = false, bad("refused: it cannot be said whether this is authorized")
		}
	}()
	return a.authorize(req), nil
}

func (a *admin) obey(req *http.Request, body []byte) (CircuitSnapshot, error) {
	o, err := readOrder(req, body)
	if err != nil {
		return CircuitSnapshot{}, err
	}
	do, err := o.action(a.breaker)
	if err != nil {
		return CircuitSnapshot{}, err
	}
	return a.breaker.commandKnown(req.Context(), *o.Key, do)
}

// commandKnown does something to a circuit by hand, and does not make one.
func (b *Breaker) commandKnown(
	ctx context.Context, key string, do func(c *circuit, now int64),
) (CircuitSnapshot, error) {
	for {
		c, ok := b.circuits.Lookup(key)
		if !ok && key == keyed.OverflowKey {
			c, _ = b.circuits.Overflow()
			ok = c != nil
		}
		if !ok {
			return CircuitSnapshot{}, fmt.Errorf("%w: %q", ErrUnknownKey, key)
		}
		now := b.now()
		c.mu.Lock()
		if c.retired {
			c.mu.Unlock()
			continue
		}
		b.advance(c, now)
		was := c.state
		do(c, now)
		b.track(was, c.state)
		b.unlock(ctx, c)
		return b.see(c), nil
	}
}
