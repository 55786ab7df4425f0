package route

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// host is what is known of one address. Picking reads it without a lock. now is the
// time in nanoseconds since the Pool was made.
type host struct {
	addr   string // as it stands in URLs
	scheme string // "" is the request's

	inFlight atomic.Int64
	picks    atomic.Uint64
	latency  atomic.Uint64 // float64 ns: the peak, decaying
	troubles atomic.Uint64 // float64: failures, decaying
	heard    atomic.Int64  // when both were last changed
	since    atomic.Int64  // when it came or came back
	trial    atomic.Bool   // on probation: a request is out

	mu       sync.Mutex // what follows changes under it
	failures int        // in a row
	good     float64    // requests, decaying
	wrong    float64
	counted  int64 // when both were last changed
}

// member is a host as the present set has it.
type member struct {
	*host

	weight float64
	zone   string
	role   Role
	health health
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
		wrong = append(wrong, errors.New("there is none"))
	}
	return members, errors.Join(wrong...)
}

func readHost(h Host) (member, error) {
	scheme, addr, found := strings.Cut(h.Addr, "://")
	if !found {
		scheme, addr = "", h.Addr
	}
	u, err := url.Parse("http://" + addr)
	switch {
	case scheme != "" && scheme != "http" && scheme != "https":
		return member{}, fmt.Errorf("%q: the scheme is neither http nor https", h.Addr)
	case err != nil:
		return member{}, fmt.Errorf("%q is no address", h.Addr)
	case u.User != nil:
		return member{}, fmt.Errorf("%q: what stands before the @ would be sent to nobody", u.Host)
	case u.Host != addr || u.Hostname() == "" || strings.HasSuffix(addr, ":"):
		return member{}, fmt.Errorf("%q is no host with or without a port", h.Addr)
	case h.Weight < 0 || h.Weight > 1000:
		return member{}, fmt.Errorf("%q: the weight is %d, not from 1 to 1000", h.Addr, h.Weight)
	case h.Role > Replica:
		return member{}, fmt.Errorf("%q: there is no role %d", h.Addr, h.Role)
	}
	return member{
		host: &host{addr: addr, scheme: scheme}, weight: float64(max(h.Weight, 1)), zone: h.Zone, role: h.Role,
	}, nil
}

// unknownLatency is what a host's is taken for before anything is known of any.
const unknownLatency = float64(time.Millisecond)

// troubleTime is in which troubles fade.
const troubleTime = 5 * time.Second

// score is how long a newcomer would wait at a host, more or less: the host with the
// lower one is the better.
func (m *member) score(now int64, cfg *Config) float64 {
	latency := math.Float64frombits(m.latency.Load())
	troubles := math.Float64frombits(m.troubles.Load())
	since := float64(max(now-m.heard.Load(), 0))
	latency = fade(latency, since, float64(cfg.Decay))
	if latency == 0 {
		latency = unknownLatency
	}
	troubles = fade(troubles, since, float64(troubleTime))
	return latency * float64(m.inFlight.Load()+1) * (1 + 4*troubles) / (m.weight * m.started(now, cfg))
}

// fade is how much is left of a value after a time. It is hyperbolic where an
// exponential is meant: who picks hosts does not want to wait for the difference.
func fade(value, since, constant float64) float64 { return value / (1 + since/constant) }

// started is how far a host has come since it came, or came back, from a tenth to 1.
func (m *member) started(now int64, cfg *Config) float64 {
	if cfg.SlowStart == Off {
		return 1
	}
	return min(max(float64(now-m.since.Load())/float64(cfg.SlowStart), 0.1), 1)
}

// learn takes what a request tells of latency and troubles. What has failed, and what
// was given up, has taken at least that long: it may make a host look worse, and never
// better.
func (h *host) learn(took, now int64, o Outcome, cfg *Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := float64(max(now-h.heard.Load(), 0))
	latency := math.Float64frombits(h.latency.Load())
	troubles := fade(math.Float64frombits(h.troubles.Load()), since, float64(troubleTime))
	switch sample := float64(took); {
	case sample > latency: // the peak at once
		latency = sample
	case o == Success: // and down slowly
		latency = sample + (latency-sample)*math.Exp(-since/float64(cfg.Decay))
	default:
		// It keeps what it has, of which the age is not to be forgotten with heard.
		latency = fade(latency, since, float64(cfg.Decay))
		latency = max(latency, sample)
	}
	if o == Failure || o == Trouble {
		troubles++
	}
	h.latency.Store(math.Float64bits(latency))
	h.troubles.Store(math.Float64bits(troubles))
	h.heard.Store(now)
}

// patience is how long a caller must wait for a host before its leaving says something
// of the host: twice as long as that takes.
func (h *host) patience() int64 { return int64(2 * math.Float64frombits(h.latency.Load())) }
