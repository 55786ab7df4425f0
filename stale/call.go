package stale

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/stale/internal/policy"
)

// call is one request on its way through the Cache.
type call struct {
	c    *Cache
	req  *http.Request
	from origin
	role *role

	key       string // of the resource; "" for a request that the Cache passes on
	why       string // it does, in the words of RFC 9211
	asks      policy.Request
	forwarded string // fields that change what applications answer, though no Vary names them
	cookie    bool   // in a shared cache: it says who asks
	auth      bool   // the same, by Authorization
	ranged    bool   // it asks for a part

	// What was found.
	stored  *Entry
	derived *derived
	verdict policy.Verdict
	mark    *Mark
	vary    []string // what responses to this resource vary by, as far as known

	inform func(interim) // passes an informational response on to the client, if set

	whole bool // the origin is not to be asked whether what is stored holds
	// Between the look into the Store and the joining of a flight, the flight that was
	// to be met may have landed: then one looks again, once.
	landings    uint64 // when it looked
	looksAgain  bool
	lookedAgain bool

	elected bool // it has waited for a flight that failed
	solo    bool // what comes back cannot be shared
}

// newCall says what the Cache may do for a request.
func (c *Cache) newCall(req *http.Request, from origin, to *role) *call {
	x := &call{c: c, req: req, from: from, role: to}
	if x.why = c.bypass(req, to.server); x.why != "" {
		return x
	}
	x.key = x.resource(req)
	if x.key == "" {
		x.why = "bypass"
		return x
	}
	if !c.cfg.IgnoreClientControl {
		x.asks = policy.ReadRequest(req.Header)
	} else {
		x.asks = policy.ReadRequest(nil)
	}
	if x.asks.NoStore {
		x.why, x.key = "request", ""
		return x
	}
	x.forwarded = policy.Forwarded(req.Header) + to.spelling(req) + to.user(req.Header)
	x.cookie = to.rules.Shared && c.hasCookie(req.Header)
	x.auth = to.rules.Shared && len(req.Header["Authorization"]) > 0
	x.ranged = len(req.Header["Range"]) > 0
	return x
}

// bypass says, in the words of RFC 9211, why a request has nothing to do with
// what is stored, or "". What is half of a conversation, what carries a body, and
// what others may read differently than the origin does, is passed on.
func (c *Cache) bypass(req *http.Request, server bool) string {
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != "":
		return "method"
	case hasBody(req, server), len(req.Header["Upgrade"]) > 0, len(req.Header["Expect"]) > 0,
		len(req.Trailer) > 0, isEventStream(req.Header), policy.OverridesMethod(req.Header),
		policy.Deceptive(req.URL, req.RequestURI), !server && !isCanonical(req.Header),
		c.cfg.Bypass != nil && c.cfg.Bypass(req):
		return "bypass"
	default:
		return ""
	}
}

// hasBody reports whether a request carries a body. An HTTP/2 server gives every
// request one to read, and tells by the length that there is nothing in it; the
// same length of a client's request says that it is not known.
func hasBody(req *http.Request, server bool) bool {
	return rt.HasBody(req) && (!server || req.ContentLength != 0)
}

func isEventStream(header http.Header) bool {
	for _, line := range header["Accept"] {
		if strings.Contains(line, "text/event-stream") {
			return true
		}
	}
	return false
}

// resource is the key of what a request is for. The key of one door is never that
// of another.
func (x *call) resource(req *http.Request) string {
	if x.c.cfg.Key != nil {
		if key := x.c.cfg.Key(req); key != "" {
			return x.role.prefix + key
		}
		return ""
	}
	scheme, host := x.role.originOf(req)
	return policy.Key(x.role.prefix, scheme, host, req.URL)
}

// origin is scheme and host of the effective URL. A server knows its own name only
// from the request.
func (r *role) originOf(req *http.Request) (scheme, host string) {
	scheme, host = req.URL.Scheme, cmp.Or(req.Host, req.URL.Host)
	switch {
	case r.server && req.TLS != nil:
		scheme = "https"
	case r.server:
		scheme = "http"
	}
	return scheme, host
}

// urlOf is the effective URL.
func (r *role) urlOf(req *http.Request) *url.URL {
	u := *req.URL
	u.Scheme, u.Host = r.originOf(req)
	return &u
}

// host names the origin as far as its latency is concerned.
func (x *call) host() string {
	if x.role.server {
		return ""
	}
	return x.req.URL.Host
}

// asked is the normal form of what a response varies by, as this request has it.
func (x *call) asked(names []string) string {
	text := ""
	if len(names) > 0 {
		text = policy.Ask(names, x.req.Header)
	}
	if x.forwarded != "" {
		text += "\x00" + x.forwarded
	}
	return text
}

// flightName is what requests have in common that may share an answer.
func (x *call) flightName() string {
	if x.solo || x.req.Method == http.MethodHead {
		return ""
	}
	if len(x.vary) == 0 && x.forwarded == "" {
		return x.key
	}
	return x.key + "\x00" + x.asked(x.vary)
}

// validates reports whether the origin is asked whether what is stored still
// holds.
func (x *call) validates() bool {
	return x.stored != nil && !x.whole && x.derived.terms.Validator
}

// onError reports whether what is stored may answer if the origin does not.
func (x *call) onError() bool { return x.stored != nil && x.verdict.OnError }

// outgoing is the request as the origin gets it: a copy, because the client's is
// its own again when it has been answered, and for the whole of the resource
// whatever the client has already.
func (x *call) outgoing(ctx context.Context) *http.Request {
	out := x.req.Clone(ctx)
	out.Body, out.GetBody, out.ContentLength = http.NoBody, nil, 0
	out.Cancel = nil //nolint:staticcheck // it is the client's, whose end is not this request's
	if x.validates() {
		policy.Validators(x.stored.Header, out.Header)
	} else {
		policy.Unconditional(out.Header)
	}
	return out
}

// own returns the call as a flight goes on with it: when the client has been
// answered, the request is the client's again.
func (x *call) own() *call {
	own := *x
	own.req = x.req.Clone(context.WithoutCancel(x.req.Context()))
	return &own
}

// personal reports whether the request says who asks.
func (x *call) personal() bool { return x.cookie || x.auth }

// suits reports whether a response on these terms may be given to who asks.
func (x *call) suits(terms *policy.Terms) bool {
	return (!x.cookie || terms.Public) && (!x.auth || terms.Authorized)
}

// asks is the method and the header of the request as far as they say who asks.
func (x *call) asOf() (method string, header http.Header) {
	header = x.req.Header
	if !x.cookie && len(header["Cookie"]) > 0 { // of no meaning
		header = header.Clone()
		delete(header, "Cookie")
	}
	return cmp.Or(x.req.Method, http.MethodGet), header
}

// look finds what is stored for the request, and judges it.
func (x *call) look(now time.Time) {
	x.stored, x.derived, x.verdict = nil, nil, policy.Verdict{}
	e := x.c.store.get(x.req.Context(), Key{Primary: x.key})
	if e != nil && len(e.Variants) > 0 {
		x.vary = e.Variants[0].Names
		e = x.variant(e)
	} else if e != nil && e.Asked != x.asked(nil) {
		e = nil
	}
	if e == nil || !e.isResponse() {
		return
	}
	d := e.derive(&x.role.rules)
	if d.terms.Reason != policy.None || !x.suits(&d.terms) {
		return
	}
	x.stored, x.derived = e, d
	x.verdict = d.terms.Judge(x.asks, x.c.defaults, e.Received, now)
	if e.Purged {
		x.verdict.Use = policy.Validate
	}
}

// isCurrent reports whether what was found is there still. A purge between the look and
// the epoch that a flight reads would else be undone by a 304.
func (x *call) isCurrent() bool {
	again := *x
	again.look(time.Now())
	return again.stored != nil && again.stored.Received.Equal(x.stored.Received)
}

// variant returns the response of a list that is meant for this request.
func (x *call) variant(list *Entry) *Entry {
	var names []string
	asked := x.asked(nil)
	for _, v := range list.Variants {
		if !slices.Equal(names, v.Names) { // they are the same for nearly all
			names, asked = v.Names, x.asked(v.Names)
		}
		if v.Asked != asked {
			continue
		}
		if e := x.c.store.get(x.req.Context(), Key{Primary: x.key, Variant: v.ID}); e != nil && e.Asked == v.Asked {
			x.vary = v.Names
			return e
		}
	}
	return nil
}
