package rt

import (
	"errors"
	"net/http"
)

// HostOf returns where an attempt went: a router below may have sent it elsewhere
// than its URL says, and tells by the response or by the error.
func HostOf(sent *http.Request, resp *http.Response, err error) string {
	if resp != nil && resp.Request != nil && resp.Request.URL != nil {
		return resp.Request.URL.Host
	}
	if host := HostOfError(err); host != "" {
		return host
	}
	return sent.URL.Host
}

// HostOfError returns where an attempt failed, as far as its error tells.
func HostOfError(err error) string {
	routed, ok := errors.AsType[interface {
		error
		Host() string
	}](err)
	if !ok {
		return ""
	}
	return routed.Host()
}
