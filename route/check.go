package route

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The defaults of a Check.
const (
	DefaultCheckEvery   = 10 * time.Second
	DefaultCheckTimeout = time.Second
	DefaultFall         = 3
	DefaultRise         = 2
)

// Check asks hosts how they are: of use to find out about hosts without traffic, and
// to bring back sooner those that are ejected, or drain no more. It does so if it has a
// Path.
//
// What a check finds does not outweigh what requests do. A host whose requests fail is
// ejected while its checks succeed; Rise successes let its probation begin sooner, but
// not sooner than a second after it was ejected, and not again before it has come back
// or has been ill. The first check of a host that has served nothing yet decides at
// once.
//
// Config.DrainHeader is read in the answers to checks as well: one that says "drain" is
// a failure, and the DrainTime begins anew. Rise successes then end it, as they do an
// ejection.
type Check struct {
	// Path is what is asked for, by GET. It may have a query. Without it there are no
	// checks, and the other fields must not be set.
	Path string

	// HTTPS is for hosts whose Addr does not say how they are to be asked.
	HTTPS bool

	// Status is what a host that is well answers with. Redirects are not followed. Zero
	// means 200.
	Status int

	// Service, if set, is what the header ServiceHeader of the answer must say: at an
	// address that has been given to somebody else, another service is well.
	Service string

	// ServiceHeader is of use with a Service only. Zero means X-Service-Name.
	ServiceHeader string

	// Every is how often a host is asked, give or take a fifth. Zero means 10 s.
	Every time.Duration

	// Timeout is how long the answer may take. Zero means 1 s.
	Timeout time.Duration

	// Fall is after how many failures in a row a host is ill. Zero means 3.
	Fall int

	// Rise is after how many successes in a row it is not ill any more. Zero means 2.
	Rise int

	// Transport is what checks are sent through; Config.TLSNameHandled holds for it. Nil
	// means one of their own, for which Config.TLSName holds, and which makes a
	// connection for each: a kept one says nothing of whether one can be made.
	Transport http.RoundTripper `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is wrong.
func (c *Check) complete() error {
	if c.Path == "" {
		rest := *c
		rest.Transport = nil // which may be of a type that cannot be compared
		if rest != (Check{}) || c.Transport != nil {
			return bad("Config.Check has no Path, but other fields")
		}
		return nil
	}
	wrong := []error{c.validatePath()}
	if c.Service == "" && c.ServiceHeader != "" {
		wrong = append(wrong, bad("Config.Check has a ServiceHeader (%q) and no Service", c.ServiceHeader))
	}
	c.Status = cmp.Or(c.Status, http.StatusOK)
	c.ServiceHeader = cmp.Or(c.ServiceHeader, "X-Service-Name")
	c.Every = cmp.Or(c.Every, DefaultCheckEvery)
	c.Timeout = cmp.Or(c.Timeout, DefaultCheckTimeout)
	c.Fall = cmp.Or(c.Fall, DefaultFall)
	c.Rise = cmp.Or(c.Rise, DefaultRise)
	if c.Status < 200 || c.Status > 599 {
		wrong = append(wrong, bad("Config.Check.Status is %d, not from 200 to 599", c.Status))
	}
	positive := func(field string, is bool, value any) {
		if !is {
			wrong = append(wrong, bad("Config.Check.%s is %v, not above 0", field, value))
		}
	}
	positive("Every", c.Every > 0, c.Every)
	positive("Timeout", c.Timeout > 0, c.Timeout)
	positive("Fall", c.Fall > 0, c.Fall)
	positive("Rise", c.Rise > 0, c.Rise)
	return errors.Join(wrong...)
}

func (c *Check) validatePath() error {
	if u, err := url.Parse("http://host" + c.Path); !strings.HasPrefix(c.Path, "/") || err != nil || u.Fragment != "" {
		return bad("Config.Check.Path is %q, not a path with or without a query", c.Path)
	}
	return nil
}
