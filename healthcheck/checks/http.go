package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/internal/rt"
)

// DefaultServiceHeader is the header by which a service says which one it is.
const DefaultServiceHeader = "X-Service-Name"

// longestBody is how much of an answer is read.
const longestBody = 64 << 10

// HTTPGet is a request and what its answer has to be.
type HTTPGet struct {
	// URL is what to get: http or https. Redirects are not followed: where they
	// lead is healthy does not say that who sends there is.
	URL string

	// Header is sent with the request; Host replaces the host of the URL in it.
	Header http.Header

	// Status is what the answer has to have: one such as 204, or a class, as 2 for
	// all from 200 to 299. Zero means 2.
	Status int

	// Judge says, in the place of Status, what is wrong with an answer. Of its body
	// 64 KiB can be read.
	Judge func(*http.Response) error `json:"-"`

	// Service, if set, is who has to answer, by its ServiceHeader: an address may
	// have passed to another service. Zero means X-Service-Name.
	Service       string
	ServiceHeader string

	// Transport sends the request. Nil means one of its own, which makes a
	// connection for each: what is probed is also whether that can be done.
	Transport http.RoundTripper `json:"-"`

	_ struct{}
}

// HTTP returns a probe that sends a request. Only the context bounds how long that
// may take.
func HTTP(get HTTPGet) Probe {
	target, err := get.complete()
	if err != nil {
		return misconfigured(err)
	}
	client := &http.Client{
		Transport:     get.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) healthcheck.Result {
		begin := time.Now()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req := (&http.Request{
			Method: http.MethodGet, URL: target, Header: get.Header.Clone(), Host: get.Header.Get("Host"),
		}).WithContext(ctx)
		resp, err := client.Do(req) //nolint:bodyclose // rt.Discard closes it.
		if err != nil {
			return unreachable(err)
		}
		res := took(begin)
		defer rt.Discard(ctx, resp, cancel)
		if bad, ok := get.judge(resp); !ok {
			res = bad
		}
		return res
	}
}

// complete replaces every zero by its default and returns everything that is wrong.
func (get *HTTPGet) complete() (*url.URL, error) {
	target, err := url.Parse(get.URL)
	if err != nil {
		err = wrong("HTTPGet.URL: %w", err)
	} else {
		err = when(target.Scheme != "http" && target.Scheme != "https" || target.Host == "",
			"HTTPGet.URL is %q, not an absolute one of http or https", target.Redacted())
	}
	class := get.Status >= 2 && get.Status <= 5
	err = errors.Join(err,
		when(get.Status != 0 && !class && (get.Status < 200 || get.Status > 599),
			"HTTPGet.Status is %d, not from 200 to 599 and no class from 2 to 5", get.Status),
		when(get.Status != 0 && get.Judge != nil, "HTTPGet has a Status, and a Judge in its place"),
		when(get.Service == "" && get.ServiceHeader != "", "HTTPGet has a ServiceHeader and no Service"),
	)
	if get.Status == 0 {
		get.Status = 2
	}
	if get.ServiceHeader == "" {
		get.ServiceHeader = DefaultServiceHeader
	}
	if get.Header = get.Header.Clone(); get.Header == nil {
		get.Header = http.Header{}
	}
	if get.Header.Get("User-Agent") == "" {
		get.Header.Set("User-Agent", "failsoft-healthcheck")
	}
	if get.Transport == nil {
		get.Transport = freshTransport()
	}
	return target, err
}

// freshTransport keeps no connection. A kept one would go on to work long after the
// name leads elsewhere, the certificate has expired or the listener is gone.
func freshTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{}).DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: longestBody,
	}
}

// judge returns what is wrong with an answer, or true. Who answers comes first: what
// somebody else says means nothing.
func (get *HTTPGet) judge(resp *http.Response) (healthcheck.Result, bool) {
	if name := resp.Header.Get(get.ServiceHeader); get.Service != "" && name != get.Service {
		return failed(fmt.Errorf("checks: %s is %q, not %q", get.ServiceHeader, name, get.Service),
			"another service answers"), false
	}
	if get.Judge != nil {
		resp.Body = &limited{io.LimitReader(resp.Body, longestBody), resp.Body}
		if err := get.Judge(resp); err != nil {
			return failed(err, ""), false
		}
		return healthcheck.Result{}, true
	}
	if resp.StatusCode != get.Status && resp.StatusCode/100 != get.Status {
		return failed(fmt.Errorf("checks: %s answers %s", resp.Request.URL.Redacted(), resp.Status),
			fmt.Sprintf("status %d", resp.StatusCode)), false
	}
	return healthcheck.Result{}, true
}

// limited is a body that ends early.
type limited struct {
	io.Reader
	io.Closer
}
