package route

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Off switches a rule off, where a Config takes it.
const Off = -1

// The defaults of a Config.
const (
	DefaultDecay          = 10 * time.Second
	DefaultSlowStart      = 10 * time.Second
	DefaultConsecutive    = 5
	DefaultSuccessMargin  = 0.2
	DefaultEjectTime      = 5 * time.Second
	DefaultMaxEjectTime   = 5 * time.Minute
	DefaultMaxEjected     = 0.5
	DefaultPanicThreshold = 0.5
	DefaultZoneThreshold  = 0.7
	DefaultDrainTime      = 30 * time.Second
	DefaultMaxLag         = DefaultPinFor
)

// Config says which requests are routed, to which hosts, and when one is left out. The
// zero Config but for Names and Hosts is the default, meant for production.
type Config struct {
	// Names are the hosts of the URLs that are routed, as they stand there, in any case:
	// with a port if URLs have one, even if it is the one of the scheme. At least one.
	// Requests for others pass unchanged.
	Names []string

	// Hosts are where to, or what is known before the Resolver has answered.
	Hosts []Host

	// Resolver finds the hosts, and goes on looking: see DNS, SRV and File. The Pool runs
	// it on a goroutine until Close. A host that it leaves out is forgotten, but for the
	// requests that are under way there: one that comes again is new.
	Resolver Resolver `json:"-"`

	// AddressAsHost sends the address of a host in the Host header. Otherwise that is
	// what the request says, the service's name.
	AddressAsHost bool

	// TLSName is the name that certificates are verified for by the transport that
	// Transport(nil) makes. Zero means the first of Names, without its port.
	TLSName string

	// TLSNameHandled says that a transport of your own verifies certificates for that
	// name, and not for the addresses: without it, https over such a one is refused.
	TLSNameHandled bool

	// Zone is where this process is: hosts in the same one are preferred. Zero means that
	// none are.
	Zone string

	// ZoneThreshold is the part of the weight of the own zone's hosts, in (0,1], that has
	// to be well for them to get all of the traffic. Below that they get less than their
	// due, down to nothing. Zero means 0.7.
	ZoneThreshold float64

	// Judge says what a response (before its body has been read) or an error of the
	// transport says of the host. Nil, or ByRule, means: errors of the transport and 5xx
	// but 501 are failures, 429 is trouble, the rest are successes. What the caller has
	// ended is ignored before Judge is asked, if it was canceled, or had less time than
	// twice what the host takes, or than what others take.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// Decay is the time constant in which a latency that was high is forgotten. A host
	// that is well and has said nothing for that long, as others were quicker, gets one
	// request that draws it, and its answer alone counts then: of two hosts, neither is
	// without traffic for longer. Zero means 10 s.
	Decay time.Duration

	// SlowStart is how long it takes a new or returned host to get its full share. Zero
	// means 10 s; or Off.
	SlowStart time.Duration

	// Consecutive ejects a host after so many failures with no success in between, and
	// after three of them if these span 10 s: what fails is avoided before it is ejected,
	// and gets few requests. Zero means 5; or Off.
	Consecutive int

	// SuccessMargin ejects a host whose success rate over some ten seconds is by that much
	// lower than that of the others, from 20 requests on. Zero means 0.2; or Off.
	SuccessMargin float64

	// EjectTime is how long a host is ejected the first time; the second time it is
	// twice as long, and so on up to MaxEjectTime, give or take a fifth. Zero means 5 s.
	EjectTime time.Duration

	// MaxEjectTime is the longest that it gets, but for the fifth. Zero means 5 min, or
	// EjectTime if that is longer.
	MaxEjectTime time.Duration

	// MaxEjected is the part of the hosts, in (0,1], that may be ejected, rounded down
	// but for the first one. Never ejected is who has no other host that is well and can
	// do the same: so a replica may be while a primary is well, which then serves its
	// reads, but no primary for the sake of replicas. Zero means 0.5.
	MaxEjected float64

	// PanicThreshold is the part of the hosts' weight, in (0,1], below which all of them
	// are used, ill or not, but for those that drain. These are used, too, where no host
	// is left but such that were ejected. Zero means 0.5; or Off.
	PanicThreshold float64

	// DrainHeader is the response header by which a host says that it wants no new work,
	// by the value "drain". Zero means X-Health, as sent by package healthcheck.
	DrainHeader string

	// DrainTime is for how long a host gets no new work after it last said so, unless it is
	// gone by then. Checks bring it back sooner, as they do who was ejected; without them
	// a host that was restarted at once is out for as long. Zero means 30 s; or Off, not
	// to look.
	DrainTime time.Duration

	// Check asks hosts how they are, if it has a Path.
	Check Check

	// Store names what the roles of the hosts are about, for requests under a context
	// that Writes has marked. Zero means "".
	Store string

	// OnlyReads reports whether a request only reads, and so may go to a replica, by all
	// but its body. Nil means by its method: GET, HEAD, OPTIONS and TRACE do.
	OnlyReads func(*http.Request) bool `json:"-"`

	// Lag returns how far a replica is behind, and the position that it has reached, for
	// each request that may go there: it must not wait. Nil means none is behind. A
	// replica that lags by more than MaxLag, or of which nothing is known, gets no
	// request while another host does: where nothing is known of any, as when the func
	// panics, the primary serves all reads.
	Lag func(addr string) (lag time.Duration, position string, known bool) `json:"-"`

	// MaxLag is to be no longer than the PinFor of Writes: else, who has written is sent
	// where that has not arrived. Zero means 5 s.
	MaxLag time.Duration

	// Reached reports whether a position, of Lag, includes one that Writes was given.
	// Nil compares decimal numbers, and takes what is none for not reached.
	Reached func(have, want string) bool `json:"-"`

	// NoPrimary says what becomes of a read that should go to the primary, when there is
	// none: none among the hosts, or each ejected or found ill. Zero, ReadReplica, lets a
	// replica answer and adds the header Stale-Read to the response. It does so as well
	// when each has failed Consecutive times in a row, while one read a second finds out
	// whether that is over. Refuse is an error. What does not only read goes to a primary
	// that is not well, and is refused if there is none among the hosts.
	NoPrimary NoPrimary

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// Host is where requests can go.
type Host struct {
	// Addr is a host name or IP address (of IPv6, in brackets), with a port unless it is
	// the one of the scheme. Its case does not matter. With "http://" or "https://" in
	// front, the request's own scheme is replaced.
	Addr string `json:"addr"`

	// Weight is the host's share of the traffic, compared to others, while requests are in
	// flight at the same time: from 1 to 1000. Of one request at a time, nearly all may go
	// to the quickest of hosts of the same weight, however little it is quicker. Zero means
	// 1.
	Weight int `json:"weight,omitempty"`

	// Zone is where it is; see Config.Zone.
	Zone string `json:"zone,omitempty"`

	// Role is what it may be asked for.
	Role Role `json:"role,omitempty"`
}

// Role is what a host may be asked for.
type Role uint8

// The roles.
const (
	Any     Role = iota // everything
	Primary             // what writes, and what must not be old; the rest while there is no replica
	Replica             // what only reads
)

// String returns the role's name.
func (r Role) String() string { return name(r, "any", "primary", "replica") }

// MarshalText makes a Role readable in JSON.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String writes.
func (r *Role) UnmarshalText(text []byte) error {
	for at := range Replica + 1 {
		if strings.EqualFold(string(text), at.String()) {
			*r = at
			return nil
		}
	}
	return bad("%q is none of any, primary and replica", text)
}

// NoPrimary is what to do about reads when there is no primary.
type NoPrimary uint8

// The choices.
const (
	ReadReplica NoPrimary = iota
	Refuse
)

// Outcome is what a response says of its host.
type Outcome uint8

// The outcomes.
const (
	ByRule  Outcome = iota // what Config.Judge says where it has no opinion
	Success                // it is well
	Failure                // it is not
	Trouble                // it has too much to do: less for it, but it is not ejected
	Ignore                 // nothing is known
)

// String returns the outcome's name.
func (o Outcome) String() string {
	return name(o, "by rule", "success", "failure", "trouble", "ignore")
}
