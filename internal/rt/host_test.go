package rt_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/rt"
)

// routedError is how a router tells where an attempt failed.
type routedError string

func (routedError) Error() string  { return "routed" }
func (e routedError) Host() string { return string(e) }

func requestTo(host string) *http.Request {
	return &http.Request{URL: &url.URL{Scheme: "http", Host: host}}
}

func TestHostOf(t *testing.T) {
	for name, c := range map[string]struct {
		resp *http.Response
		err  error
		want string
	}{
		"a response of the host asked":   {&http.Response{Request: requestTo("asked")}, nil, "asked"},
		"a response of another":          {&http.Response{Request: requestTo("routed:81")}, nil, "routed:81"},
		"a response without a request":   {&http.Response{}, nil, "asked"},
		"... and one without a URL":      {&http.Response{Request: &http.Request{}}, nil, "asked"},
		"an error that tells":            {nil, routedError("routed:82"), "routed:82"},
		"... inside of another":          {nil, &url.Error{Err: fmt.Errorf("x: %w", routedError("routed:83"))}, "routed:83"},
		"... joined":                     {nil, errors.Join(errReset, routedError("routed:84")), "routed:84"},
		"an error that does not know":    {nil, routedError(""), "asked"},
		"an error that knows of no host": {nil, errReset, "asked"},
		"neither":                        {nil, nil, "asked"},
		"a response and an error":        {&http.Response{Request: requestTo("a")}, routedError("b"), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, rt.HostOf(requestTo("asked"), c.resp, c.err))
		})
	}
}

func TestHostOfError(t *testing.T) {
	assert.Equal(t, "h:1", rt.HostOfError(fmt.Errorf("x: %w", routedError("h:1"))))
	assert.Equal(t, "outer", rt.HostOfError(errors.Join(routedError("outer"), routedError("inner"))))
	assert.Empty(t, rt.HostOfError(errReset))
	assert.Empty(t, rt.HostOfError(nil))
}
