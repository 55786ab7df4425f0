package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// TLSNameHandled says that a transport of your own does so, which would otherwise
	// look for the addresses in them: without it, https over such a one is refused.
	TLSName        string
	TLSNameHandled bool

	// Zone is where this process is. Hosts in the same zone are preferred while at least
	// ZoneThreshold of their weight is well, and get less than their due below that,
	// down to nothing. Zero means no preference, and 0.7.
	Zone          string
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
	// without traffic for longer. Zero means 10 s. SlowStart is how long it takes a new or
	// returned host to get its full share. Zero means 10 s; or Off.
	Decay     time.Duration
	SlowStart time.Duration

	// Consecutive ejects a host after so many failures with no success in between.
	// Zero means 5; or Off. SuccessMargin ejects one whose success rate over some ten
	// seconds is by that much lower than that of the others, from 20 requests on. Zero
	// means 0.2; or Off.
	Consecutive   int
	SuccessMargin float64

	// EjectTime is how long a host is ejected the first time; the second time it is
	// twice as long, and so on up to MaxEjectTime, give or take a fifth. Zero means
	// 5 s and 5 min.
	EjectTime    time.Duration
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
	// DrainTime is for how long it gets none after it last said so, unless it is gone by
	// then. Zero means 30 s; or Off, not to look.
	DrainHeader string
	DrainTime   time.Duration

	// Check asks hosts how they are. Its zero value does not.
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
	// panics, the primary serves all reads. MaxLag is to be no longer than the PinFor of
	// Writes: else, who has written is sent where that has not arrived. Zero means 5 s.
	Lag    func(addr string) (lag time.Duration, position string, known bool) `json:"-"`
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

	// Weight is the host's share of the traffic, compared to others: from 1 to 1000. Zero
	// means 1.
	Weight int `json:"weight,omitempty"`

	// Zone is where it is; see Config.Zone. Role is what it may be asked for.
	Zone string `json:"zone,omitempty"`
	Role Role   `json:"role,omitempty"`
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

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *Config) complete() error {
	cfg.Decay = cmp.Or(cfg.Decay, DefaultDecay)
	cfg.SlowStart = cmp.Or(cfg.SlowStart, DefaultSlowStart)
	cfg.Consecutive = cmp.Or(cfg.Consecutive, DefaultConsecutive)
	cfg.SuccessMargin = cmp.Or(cfg.SuccessMargin, DefaultSuccessMargin)
	cfg.EjectTime = cmp.Or(cfg.EjectTime, DefaultEjectTime)
	cfg.MaxEjectTime = cmp.Or(cfg.MaxEjectTime, max(DefaultMaxEjectTime, cfg.EjectTime))
	cfg.MaxEjected = cmp.Or(cfg.MaxEjected, DefaultMaxEjected)
	cfg.PanicThreshold = cmp.Or(cfg.PanicThreshold, DefaultPanicThreshold)
	cfg.ZoneThreshold = cmp.Or(cfg.ZoneThreshold, DefaultZoneThreshold)
	cfg.DrainHeader = http.CanonicalHeaderKey(cmp.Or(cfg.DrainHeader, "X-Health"))
	cfg.DrainTime = cmp.Or(cfg.DrainTime, DefaultDrainTime)
	cfg.MaxLag = cmp.Or(cfg.MaxLag, DefaultMaxLag)
	return errors.Join(cfg.validate()...)
}

func (cfg *Config) validate() (wrong []error) {
	wrong = append(wrong, cfg.validateNames(), cfg.validateHosts(), cfg.Check.complete())
	fraction := func(field string, v float64, off bool) {
		if !(v > 0 && v <= 1 || off && v == Off) { // NaN is neither
			wrong = append(wrong, bad("Config.%s is %v, not in (0,1]", field, v))
		}
	}
	fraction("ZoneThreshold", cfg.ZoneThreshold, false)
	fraction("SuccessMargin", cfg.SuccessMargin, true)
	fraction("MaxEjected", cfg.MaxEjected, false)
	fraction("PanicThreshold", cfg.PanicThreshold, true)
	positive := func(field string, d time.Duration, off bool) {
		if d <= 0 && (!off || d != Off) {
			wrong = append(wrong, bad("Config.%s is %v, not above 0", field, d))
		}
	}
	positive("Decay", cfg.Decay, false)
	positive("SlowStart", cfg.SlowStart, true)
	positive("EjectTime", cfg.EjectTime, false)
	positive("MaxEjectTime", cfg.MaxEjectTime, false)
	positive("DrainTime", cfg.DrainTime, true)
	positive("MaxLag", cfg.MaxLag, false)
	if cfg.Consecutive < 1 && cfg.Consecutive != Off {
		wrong = append(wrong, bad("Config.Consecutive is %d, not at least 1", cfg.Consecutive))
	}
	if cfg.MaxEjectTime < cfg.EjectTime {
		wrong = append(wrong, bad("Config.MaxEjectTime is %v, below EjectTime (%v)", cfg.MaxEjectTime, cfg.EjectTime))
	}
	if cfg.NoPrimary > Refuse {
		wrong = append(wrong, bad("Config.NoPrimary is %d, neither ReadReplica nor Refuse", cfg.NoPrimary))
	}
	return wrong
}

func (cfg *Config) validateNames() error {
	if len(cfg.Names) == 0 {
		return bad("Config.Names is empty: nothing would be routed")
	}
	for _, service := range cfg.Names {
		if at := strings.LastIndexByte(service, '@'); at >= 0 { // which nobody is to read in a log
			return bad("Config.Names: %q: what stands before the @ is no part of a name", service[at+1:])
		}
		if err := checkAddr(service); err != nil {
			return bad("Config.Names: %w", err)
		}
	}
	return nil
}

func (cfg *Config) validateHosts() error {
	if len(cfg.Hosts) == 0 && cfg.Resolver == nil {
		return bad("Config.Hosts is empty, and there is no Resolver")
	}
	if len(cfg.Hosts) == 0 {
		return nil
	}
	_, err := readHosts(cfg.Hosts)
	if err != nil {
		return fmt.Errorf("route: Config.Hosts: %w", err)
	}
	return nil
}

func bad(format string, args ...any) error { return fmt.Errorf("route: "+format, args...) }
