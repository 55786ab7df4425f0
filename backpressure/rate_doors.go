package backpressure

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
	"github.com/failsoft/failsoft/internal/rw"
)

// Handler returns a handler that answers 429 with Retry-After to requests beyond the
// limit of their key, and calls next for the rest.
func (r *Rate) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		key := r.key(req, clientOf)
		state := r.take(req.Context(), key)
		if r.cfg.Fields {
			r.describe(w.Header(), state)
		}
		if err := r.verdict(req.Context(), key, state); err != nil {
			r.refuse(w, req, state.After, err)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// key is what Config.Key says, or the default, also if it panics.
func (r *Rate) key(req *http.Request, otherwise func(*http.Request) string) (key string) {
	if r.cfg.Key == nil {
		return otherwise(req)
	}
	defer func() {
		if value := recover(); value != nil {
			r.contain(req.Context(), value)
			key = otherwise(req)
		}
	}()
	return r.cfg.Key(req)
}

func hostOf(req *http.Request) string { return req.URL.Host }

// clientOf is the address that a request comes from. For IPv6 it is the first 64
// bits, since whoever has one address has that many.
func clientOf(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return req.RemoteAddr
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}

// describe adds the fields of draft-ietf-httpapi-ratelimit-headers-11. Others may have
// added theirs, for another policy: both fields are lists.
//
// A window is in whole seconds, in which a bucket that is filled quickly gives more than
// it holds.
func (r *Rate) describe(header http.Header, state RateState) {
	window := max(wholeSeconds(seconds(float64(r.cfg.Burst)/r.cfg.PerSecond)), 1)
	quota := max(r.cfg.Burst, int(r.cfg.PerSecond*float64(window)))
	name := strconv.Quote(r.cfg.Policy)
	header.Add("Ratelimit-Policy", name+";q="+strconv.Itoa(quota)+";w="+strconv.FormatInt(window, 10))
	if state.guessed {
		return
	}
	text := name + ";r=" + strconv.Itoa(state.Remaining)
	if state.After > 0 {
		text += ";t=" + strconv.FormatInt(wholeSeconds(state.After), 10)
	}
	header.Add("Ratelimit", text)
}

func (r *Rate) refuse(w http.ResponseWriter, req *http.Request, after time.Duration, err error) {
	if r.cfg.Refused != nil {
		rw.RefusalHeader(w.Header(), req, after)
		r.cfg.Refused(w, req, err)
		return
	}
	rw.Refuse(w, req, http.StatusTooManyRequests, after, "too many requests, try again later")
}

// Transport returns a RoundTripper that sends each request through next, or
// http.DefaultTransport if next is nil, when its turn comes; see Wait. Where the
// server says 429 nevertheless, it sends half as many, down to a twentieth of the limit,
// and comes back to it by a tenth of it per second. So 429 is to mean the quota: a server
// that says it to one of ten of 100 per second gets about 20. With a Store, that is half
// of this process's part: what others may send is not for one process to change.
//
// It belongs inside of retry and hedge, as quotas count attempts, between Throttle and
// Limiter; see "Order".
func (r *Rate) Transport(next http.RoundTripper) http.RoundTripper {
	return &paced{rate: r, next: rt.Base(next)}
}

type paced struct {
	rate *Rate
	next http.RoundTripper
}

func (t *paced) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	key, err := t.enter(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	sent := time.Now()
	resp, err := rt.RoundTrip(t.next, req)
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests {
		b := t.rate.lock(key)
		defer b.mu.Unlock()
		b.slowLocked(sent)
	}
	return resp, err
}

// enter waits for the request's turn. Should the user's Key end the goroutine, the body
// is closed, as nobody else will.
func (t *paced) enter(req *http.Request) (key string, err error) {
	waited := false
	defer func() {
		if !waited && req.Body != nil {
			_ = req.Body.Close()
		}
	}()
	key = t.rate.key(req, hostOf)
	err = t.rate.wait(rt.CallerOf(req), key)
	waited = true
	return key, err
}

// CloseIdleConnections closes those of the transport below.
func (t *paced) CloseIdleConnections() { rt.CloseIdle(t.next) }
