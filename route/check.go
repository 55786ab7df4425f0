package route

import (
	"net/http"
	"time"
)

// Check asks hosts how they are: of use to find out about hosts without traffic, and
// to bring back ejected ones sooner. The zero Check does not.
type Check struct {
	// Path is what is asked for, by GET.
	Path string
	// Status is what a host that is well answers with. Zero means 200.
	Status int
	// Service, if set, is what the header ServiceHeader of the answer must say: at an
	// address that has been given to somebody else, another service is well. Zero means
	// X-Service.
	Service       string
	ServiceHeader string
	// Every is how often a host is asked, give or take a fifth. Timeout is for how long
	// it may take. Zero means 10 s and 1 s.
	Every, Timeout time.Duration
	// Fall is after how many failures in a row a host is ill, Rise after how many
	// successes it is not any more. Zero means 3 and 2.
	Fall, Rise int
	// Transport is what checks are sent through. Nil means one of their own, for which
	// Config.TLSName holds.
	Transport http.RoundTripper `json:"-"`

	_ struct{}
}

func (c *Check) complete() error { return nil }

func (p *Pool) runChecks() {}
