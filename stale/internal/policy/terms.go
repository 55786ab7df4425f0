package policy

import (
	"net/http"
	"time"
)

// Rules are what the owner of a cache has decided, as far as headers go.
type Rules struct {
	Shared         bool
	StoreSetCookie bool // Shared only.

	// Heuristic gives responses without an explicit lifetime one that is guessed
	// from Last-Modified, RFC 9111, 4.2.2.
	Heuristic bool

	// Targeted names, in canonical form, the fields that are read before
	// Cache-Control; the first one that is there and valid hides Cache-Control and
	// Expires. Surrogate-Control is read leniently, all others as RFC 9213 has it.
	Targeted []string
}

// Terms are what a response allows a cache to do with it.
type Terms struct {
	Status int
	Reason Reason // It is stored if this is None.

	Lifetime  time.Duration // The freshness lifetime, 0 where there is none.
	Heuristic bool          // Lifetime is a guess.
	Age       time.Duration // At the time of receipt, RFC 9111, 4.2.3.
	Validator bool          // It can be revalidated.

	NoCache bool // It is not to be used without revalidation, fresh or not.

	// MustRevalidate forbids every use of a stale copy. It stands for
	// proxy-revalidate too, and for s-maxage, where the cache is shared.
	MustRevalidate bool

	// ExplicitOnly stands for s-maxage beside a window: RFC 9111, 5.2.2.10, gives
	// s-maxage the meaning of proxy-revalidate, but who writes a window beside it
	// means that window. It holds, and nobody else's wish does.
	ExplicitOnly bool

	Immutable bool

	// Public responses may be stored from requests with cookies, and answer them.
	Public bool

	// Authorized responses may be stored from requests with Authorization, and
	// answer them: RFC 9111, 3.5, counts must-revalidate in.
	Authorized bool

	// Both are Absent where the response does not say.
	StaleWhileRevalidate, StaleIfError time.Duration

	Vary   []string // Canonical, sorted, each once.
	Groups []string // Of RFC 9875.
	Drop   []string // Fields that may not be stored, canonical.
}

// Read judges the answer to a request with this method and header. Sent is when
// the request was sent, received is when the headers of the answer were there.
func Read(
	rules Rules, method string, asked http.Header, status int, h http.Header, sent, received time.Time,
) Terms {
	c := readControl(rules, h)
	t := Terms{
		Status:               status,
		Age:                  initialAge(h, sent, received),
		Validator:            HasValidator(h),
		NoCache:              c.noCache,
		Immutable:            c.immutable,
		Public:               c.public || rules.Shared && c.sMaxAge >= 0,
		StaleWhileRevalidate: window(c.staleWhileRevalidate),
		StaleIfError:         window(c.staleIfError),
		Groups:               ReadGroups(h, "Cache-Groups"),
		Drop:                 dropped(rules, &c),
	}
	t.Authorized = t.Public || c.mustRevalidate
	t.revalidation(rules, &c)
	var explicit, anything bool
	t.Lifetime, explicit = lifetime(rules, &c, status, h, received)
	t.Heuristic = !explicit && t.Lifetime > 0
	t.Vary, anything = readVary(h["Vary"])
	t.Reason = t.reason(rules, method, asked, &c, h, anything)
	if t.Reason == None && !t.useful(rules, &c, explicit) {
		t.Reason = NotFresh
	}
	return t
}

// window counts one that made no sense as none: it was there, so that the
// operator's is not asked for.
func window(d time.Duration) time.Duration {
	if d == contradicted {
		return 0
	}
	return d
}

func (t *Terms) revalidation(rules Rules, c *control) {
	t.MustRevalidate = c.mustRevalidate || rules.Shared && c.proxyRevalidate
	if t.MustRevalidate || !rules.Shared || c.sMaxAge == Absent {
		return
	}
	t.ExplicitOnly = t.StaleWhileRevalidate != Absent || t.StaleIfError != Absent
	t.MustRevalidate = !t.ExplicitOnly
}

func (t *Terms) reason(
	rules Rules, method string, asked http.Header, c *control, h http.Header, anything bool,
) Reason {
	switch {
	case method != http.MethodGet && method != "":
		return Method
	case !isStorable(t.Status):
		return Status
	case ReadRequest(asked).NoStore:
		return RequestNoStore
	case c.malformed:
		return Malformed
	case c.mustUnderstand && !isUnderstood(t.Status):
		return NotUnderstood
	case c.noStore && !c.mustUnderstand:
		return NoStore
	case anything:
		return VaryAny
	case rules.Shared:
		return t.unshared(rules, asked, c, h)
	default:
		return None
	}
}

// unshared looks for what only a shared cache has to mind.
func (t *Terms) unshared(rules Rules, asked http.Header, c *control, h http.Header) Reason {
	switch {
	case c.private:
		return Private
	case !rules.StoreSetCookie && setsCookie(h, t.Drop):
		return SetCookie
	case len(asked["Authorization"]) > 0 && !t.Authorized:
		return Authorization
	case len(asked["Cookie"]) > 0 && !t.Public:
		return Cookie
	default:
		return None
	}
}

// useful says whether there is anything to store the response for. RFC 9111
// allows to store more; without a lifetime that somebody has named it is not
// done, except for what can be revalidated and says that it wants to be.
func (t *Terms) useful(rules Rules, c *control, explicit bool) bool {
	switch {
	case t.NoCache && !t.Validator:
		return false
	case t.Lifetime > 0, c.public:
		return true
	case explicit:
		return t.Validator || t.StaleWhileRevalidate > 0 || t.StaleIfError > 0
	case !t.Validator:
		return false
	default:
		return c.noCache && isHeuristic(t.Status) || c.private && !rules.Shared
	}
}
