package healthcheck

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The kinds of view: what an endpoint can show of a group.
const (
	viewText    = iota // the status, as text
	viewJSON           // the status, as application/health+json
	viewDetails        // all there is, as application/health+json
	viewLines          // all there is, as text
	viewKinds
)

// rerender is the least time between two renderings for values alone.
const rerender = int64(time.Second)

// view is one rendering of a group, and when it is due again: the read path
// compares one number.
type view struct {
	page      atomic.Pointer[page]
	due       atomic.Int64
	rendering sync.Mutex
}

// page is an answer that is ready to be sent. It is never changed.
type page struct {
	contentType []string
	body        []byte
	at          int64 // when it was rendered
}

// touch has the page rendered again, a second after the last time.
func (v *view) touch() {
	if p := v.page.Load(); p != nil {
		v.dueBy(p.at + rerender)
	}
}

// dueBy has the page rendered again at a time, at the latest.
func (v *view) dueBy(at int64) {
	for {
		due := v.due.Load()
		if due <= at || v.due.CompareAndSwap(due, at) {
			return
		}
	}
}

//nolint:gochecknoglobals // constants, but for the language
var (
	typeJSON = []string{"application/health+json"}
	typeText = []string{"text/plain; charset=utf-8"}
	noStore  = []string{"no-store"}
)

// Handler returns the endpoint of a group: 200 if its status is pass or warn, 503
// otherwise. It answers GET and HEAD in application/health+json, or as text to who
// accepts text/plain and not JSON. Names, errors and values are for those that Config.Authorize
// lets see them. It may be mounted before Start.
//
// A request costs the same however many checks there are: it gets an answer that
// was rendered when something last changed. Only the first ones, which come before
// the first results, wait for them, at most Config.MaxWait.
func (c *Checker) Handler(group string) http.Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started.Load() && c.groups[group] == nil {
		return &endpoint{c: c, unknown: group}
	}
	return &endpoint{c: c, g: c.group(group)}
}

// Details returns the endpoint that shows all checks. Its code is that of all of
// them together.
func (c *Checker) Details() http.Handler { return c.Handler(full) }

// mounted returns a group that exists.
func (c *Checker) mounted(name string) (*group, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[name]
	if g == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	return g, nil
}

type endpoint struct {
	c       *Checker
	g       *group
	unknown string // the name of a group that there is not
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.g == nil {
		http.Error(w, fmt.Sprintf("no group %q", e.unknown), http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	kind := e.kind(r)
	v := &e.g.views[kind]
	p := v.page.Load()
	if e.c.now() >= v.due.Load() || p == nil {
		p = e.renew(r.Context(), v, kind)
	}
	h := w.Header()
	h["Content-Type"] = p.contentType
	h["Cache-Control"] = noStore
	if r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(p.body)))
		w.WriteHeader(int(e.g.code.Load()))
		return
	}
	w.WriteHeader(int(e.g.code.Load()))
	_, _ = w.Write(p.body) // who has left reads no errors
}

// kind returns what a request is to be shown.
func (e *endpoint) kind(r *http.Request) int {
	details := e.c.cfg.Authorize != nil && e.authorizes(r)
	text := false
	if accept := r.Header["Accept"]; len(accept) > 0 {
		text = strings.Contains(accept[0], "text/plain") && !strings.Contains(accept[0], "json")
	}
	switch {
	case details && text:
		return viewLines
	case details:
		return viewDetails
	case text:
		return viewText
	default:
		return viewJSON
	}
}

// authorizes asks the user. Whoever panics has not said yes, and liveness must not
// depend on it.
func (e *endpoint) authorizes(r *http.Request) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return e.c.cfg.Authorize(r)
}

// renew brings a page up to date. One request renders, while others get what was
// there before; if nothing was, they wait.
func (e *endpoint) renew(ctx context.Context, v *view, kind int) *page {
	e.g.demand(ctx)
	old := v.page.Load()
	if old == nil && ctx.Err() != nil {
		return e.g.render(kind, e.c.now()) // who has not waited for a result must not answer for those who do
	}
	if old == nil {
		v.rendering.Lock()
	} else if !v.rendering.TryLock() {
		e.g.current(e.c.now()) // for the code
		return old
	}
	defer v.rendering.Unlock()
	now := e.c.now()
	e.g.current(now)
	if p := v.page.Load(); p != nil && now < v.due.Load() {
		return p // others have done it
	}
	v.due.Store(math.MaxInt64) // first, as what changes while it is rendered makes it due again
	p := e.g.render(kind, now)
	v.page.Store(p)
	v.dueBy(max(e.g.horizon(), now+1))
	e.g.current(e.c.now()) // for the code, if something has changed meanwhile
	return p
}

// demand starts the probes that are only made when somebody asks, and waits for
// first results.
func (g *group) demand(ctx context.Context) {
	now := g.c.now()
	var wait []*check
	for _, k := range g.all() {
		if k.wanted(now) {
			g.c.launch(k)
		}
		if k.Probe != nil && g.name != Live && k.Impact != Informational && k.status(now) == Unknown {
			wait = append(wait, k)
		}
	}
	if len(wait) > 0 {
		g.c.await(ctx, wait)
	}
}

// await waits until checks have results, the caller leaves, or Config.MaxWait. What
// is not there by then is not waited for again.
func (c *Checker) await(ctx context.Context, checks []*check) {
	timer := time.NewTimer(c.cfg.MaxWait)
	defer timer.Stop()
	for i, k := range checks {
		news := k.news()
		if news == nil {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return
		case <-timer.C:
			for _, late := range checks[i:] {
				late.tooSlow()
			}
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// horizon returns when the group's page is due at the latest, if nothing changes.
func (g *group) horizon() int64 {
	_, until := unpack(g.word.Load())
	for _, k := range g.all() {
		if k.OnDemand > 0 && g.c.ctx.Err() == nil { // or there is nothing to be asked for
			until = min(until, k.nextDemand())
		}
	}
	return until
}
