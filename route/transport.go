package route

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/failsoft/failsoft/internal/outcome"
	"github.com/failsoft/failsoft/internal/rt"
)

// Transport returns a RoundTripper that sends the requests for the Pool's names to its
// hosts through next, and all others through next unchanged. It belongs inside of all
// other policies.
//
// Where next is nil it makes a transport of its own, which keeps up to 256 idle
// connections to each host, verifies certificates for Config.TLSName, speaks HTTP/2
// where a host does over TLS, gives a connection 2 s and TLS another 2 s, and uses no
// proxy; for how long to wait for an answer is up to the request's context. All
// Transport(nil) of a Pool share it. Requests for other names, whose certificates are
// others, go through http.DefaultTransport then.
//
// The request of a response is the one that was sent: its URL has the host's address.
func (p *Pool) Transport(next http.RoundTripper) http.RoundTripper {
	if next != nil {
		return &transport{pool: p, next: next, abroad: next, tls: p.cfg.TLSNameHandled}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base == nil {
		p.base = newBase(&p.cfg)
	}
	return &transport{pool: p, next: p.base, abroad: http.DefaultTransport, tls: true}
}

// newBase returns a transport for few hosts and many requests: the one of net/http
// keeps two idle connections per host, and closes what comes back beyond these.
func newBase(cfg *Config) *http.Transport {
	serverName := cfg.TLSName
	if serverName == "" {
		serverName = cfg.Names[0]
		if host, _, err := net.SplitHostPort(serverName); err == nil {
			serverName = host
		}
	}
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   2 * time.Second,
		MaxIdleConns:          0, // the bound is that of each host
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

type transport struct {
	pool   *Pool
	next   http.RoundTripper
	abroad http.RoundTripper // for what is not the Pool's
	tls    bool              // next looks for the service's name in certificates
}

// RoundTrip picks a host, sends, and learns.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || !t.pool.routes(req.URL.Host) {
		return t.abroad.RoundTrip(req)
	}
	m, staleRead, now, err := t.pool.pick(req)
	if err == nil && !t.tls && schemeOf(req, m) == schemeHTTPS {
		m.endTurn()
		err = ErrTLSName
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &NotSentError{Service: req.URL.Host, Err: err}
	}
	v := t.visit(req, m, now)
	resp, err := v.send(t.next)
	if staleRead && err == nil {
		t.pool.staleRead(req.Context(), m, resp)
	}
	return resp, err
}

// CloseIdleConnections closes those of the transports below.
func (t *transport) CloseIdleConnections() {
	rt.CloseIdle(t.next)
	if t.abroad != t.next {
		rt.CloseIdle(t.abroad)
	}
}

func schemeOf(req *http.Request, m *member) string {
	if m.scheme != "" {
		return m.scheme
	}
	return strings.ToLower(req.URL.Scheme)
}

// visit is one attempt at one host. What it needs is in one piece of memory.
type visit struct {
	pool  *Pool
	host  *member
	begun int64

	req  http.Request
	url  url.URL
	body rt.Body
}

// visit makes the attempt's own request. It shares header and body with the caller's.
func (t *transport) visit(req *http.Request, m *member, now int64) *visit {
	v := &visit{pool: t.pool, host: m, begun: now, req: *req, url: *req.URL}
	v.req.URL = &v.url
	v.url.Host, v.url.Scheme = m.addr, schemeOf(req, m)
	switch {
	case t.pool.cfg.AddressAsHost:
		v.req.Host = ""
	case req.Host == "":
		v.req.Host = req.URL.Host
	}
	m.begin(now)
	return v
}

func (v *visit) send(next http.RoundTripper) (resp *http.Response, err error) {
	returned := false
	defer func() {
		if !returned { // it panicked, or ended the goroutine
			v.learn(Ignore)
			v.leave()
		}
	}()
	resp, err = rt.RoundTrip(next, &v.req)
	returned = true
	v.learn(v.judge(resp, err))
	if err != nil {
		v.leave()
		return nil, &HostError{Addr: v.host.addr, Err: err}
	}
	v.heed(resp)
	rt.OnBodyEnd(resp, &v.body, v)
	return resp, nil
}

// learn takes what the headers, or the lack of them, tell.
func (v *visit) learn(o Outcome) {
	now := v.pool.now()
	v.pool.settle(v.host, o, v.host.learn(now-v.begun, now, o, &v.pool.cfg))
}

// heed takes what the host says of itself.
func (v *visit) heed(resp *http.Response) {
	if v.pool.saysDrain(resp) {
		v.pool.drain(v.host)
	}
}

func (p *Pool) saysDrain(resp *http.Response) bool {
	if p.cfg.DrainTime == Off {
		return false
	}
	said := resp.Header[p.cfg.DrainHeader]
	return len(said) > 0 && said[0] == "drain"
}

// BodyEnd ends the visit. A body that breaks off is a failure, whatever its status was.
func (v *visit) BodyEnd(err error) {
	defer v.leave()
	if err != nil && v.judge(nil, err) == Failure {
		if why := v.host.broke(v.pool.now(), &v.pool.cfg); why != "" {
			v.pool.eject(v.host, why)
		}
	}
}

func (v *visit) leave() { v.host.inFlight.Add(-1) }

// judge says what an answer or an error says of the host. A func of the user's that
// panics has no opinion.
func (v *visit) judge(resp *http.Response, err error) Outcome {
	kind := outcome.Of(v.req.Context(), resp, err)
	switch kind {
	case outcome.Canceled, outcome.Refused:
		return Ignore
	case outcome.Timeout:
		if now := v.pool.now(); v.hasEnded() && now-v.begun < v.pool.patience(v.host.host, now) {
			return Ignore // the caller had no time for it
		}
	default:
	}
	if judged := v.pool.asks(resp, err); judged != ByRule {
		return judged
	}
	switch {
	case kind == outcome.OK, kind == outcome.ClientError:
		return Success
	case kind == outcome.Throttled:
		return Trouble
	case kind == outcome.ServerError && resp != nil && resp.StatusCode == http.StatusNotImplemented:
		return Success
	default:
		return Failure
	}
}

// hasEnded reports whether the caller's own end has come.
func (v *visit) hasEnded() bool { return rt.CallerOf(&v.req).Ended(time.Now()) != nil }

func (p *Pool) asks(resp *http.Response, err error) (o Outcome) {
	if p.cfg.Judge == nil {
		return ByRule
	}
	defer func() {
		if recover() != nil {
			o = ByRule
		}
	}()
	return p.cfg.Judge(resp, err)
}
