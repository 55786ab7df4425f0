package route

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// host is what is known of one address. Picking reads it without a lock. now is the
// time in nanoseconds since the Pool was made.
type host struct {
	addr   string // as it stands in URLs
	scheme string // "" is the request's

	inFlight atomic.Int64
	picks    atomic.Uint64 // requests that were sent
	learned  atomic.Uint64 // of these, those that have ended, or have got headers
	waits    atomic.Int64  // since when it has had requests that have not
	latency  atomic.Uint64 // float64 ns: the peak, decaying
	troubles atomic.Uint64 // float64: failures, decaying
	heard    atomic.Int64  // when both were last changed
	since    atomic.Int64  // when it came or came back
	trial    atomic.Int64  // until when nobody else finds out about it, or it is away
	failures atomic.Int64  // in a row
	asked    atomic.Int64  // when a read last found out about a primary that fails

	mu       sync.Mutex // what follows changes under it
	usual    float64    // as latency, of successes only
	answered int64      // when the last one of these was
	good     float64    // requests, decaying
	wrong    float64
	counted  int64 // when both were last changed
	failing  int64 // since when it only fails, where there are failures in a row
}

// member is a host as the present set has it.
type member struct {
	*host

	weight float64
	part   float64 // weight, compared to the mean of all
	zone   string
	role   Role
	health health
	turn   int64 // as one request has it: it is the one of a probation, until then
}

// health is why a host gets requests, or does not.
type health uint8

const (
	well      health = iota
	probation        // one request at a time
	ill              // checks say so
	ejected
	draining
)

func (h health) String() string {
	return name(h, "well", "probation", "ill", "ejected", "draining")
}

const schemeHTTPS = "https"

// maxWeight is the largest weight: what has a thousandth of another's share is next to
// nothing.
const maxWeight = 1000

// readHosts checks a set of hosts and returns it as members.
func readHosts(hosts []Host) ([]member, error) {
	var wrong []error
	seen := make(map[string]bool, len(hosts))
	members := make([]member, 0, len(hosts))
	for _, h := range hosts {
		m, err := readHost(h)
		if err == nil && seen[m.addr] {
			err = fmt.Errorf("%q is there twice", h.Addr)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		seen[m.addr] = true
		members = append(members, m)
	}
	if len(hosts) == 0 {
		wrong = append(wrong, errors.New("it lists no hosts"))
	}
	return members, someOf(wrong)
}

func readHost(h Host) (member, error) {
	if at := strings.LastIndexByte(h.Addr, '@'); at >= 0 { // which nobody is to read in a log
		return member{}, fmt.Errorf("%q: what stands before the @ would be sent to nobody", h.Addr[at+1:])
	}
	lower := strings.ToLower(h.Addr) // a name server may answer in any case, and each time in another
	scheme, addr, found := strings.Cut(lower, "://")
	if !found {
		scheme, addr = "", lower
	}
	if scheme != "" && scheme != "http" && scheme != schemeHTTPS {
		return member{}, fmt.Errorf("%q: the scheme is neither http nor https", h.Addr)
	}
	if err := checkAddr(addr, h.Addr); err != nil {
		return member{}, err
	}
	switch {
	case h.Weight < 0 || h.Weight > maxWeight:
		return member{}, fmt.Errorf("%q: the weight is %d, not from 1 to %d", h.Addr, h.Weight, maxWeight)
	case h.Role > Replica:
		return member{}, fmt.Errorf("%q: there is no role %d", h.Addr, h.Role)
	}
	return member{
		host: &host{addr: addr, scheme: scheme}, weight: float64(max(h.Weight, 1)), zone: h.Zone, role: h.Role,
	}, nil
}

// checkAddr says what is wrong with a host of a URL, in the words in which it was given.
func checkAddr(addr, given string) error {
	u, err := url.Parse("http://" + addr)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no address", given)
	case u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || !strings.HasPrefix(addr, u.Host):
		return fmt.Errorf("%q is no host with or without a port", given)
	case u.Host != addr:
		return fmt.Errorf("%q: leave away what follows the host and its port", given)
	case !isPort(u.Port()):
		return fmt.Errorf("%q: the port is not from 1 to 65535", given)
	default:
		return nil
	}
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// mostErrors is how many of a long list of hosts are told: it may come from a file.
const mostErrors = 10

func someOf(wrong []error) error {
	if more := len(wrong) - mostErrors; more > 0 {
		wrong = append(wrong[:mostErrors:mostErrors], fmt.Errorf("and %d more", more))
	}
	return errors.Join(wrong...)
}

// prefixed puts a prefix before each of those that errors.Join has joined: each is a line
// of its own, which a log would have without a word on where it comes from.
func prefixed(prefix string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", prefix, err)
	}
	wrong := make([]error, 0, mostErrors+1)
	for _, one := range joined.Unwrap() {
		wrong = append(wrong, fmt.Errorf("%s: %w", prefix, one))
	}
	return errors.Join(wrong...)
}
