package backpressure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"strings"
	"time"
)

// Off switches something off, in the fields of a Config that say what it means there.
const Off = -1

// The defaults of a Config.
const (
	DefaultMaxWait      = 20 * time.Millisecond
	DefaultCPUThreshold = 2.0
	DefaultMinLimit     = 2
	DefaultMaxLimit     = 1000
	DefaultMaxStreams   = 10_000
	DefaultMaxKeys      = 1024
)

// Config says who is let in, how many at a time, and who waits for how long. The zero
// Config is the default, meant for production.
type Config struct {
	// Key names the limit that a request comes under. Nil means the host,
	// req.URL.Host, on the client and one limit for all, "", on the server.
	Key func(*http.Request) string `json:"-"`

	// Class says how much a request matters. Nil means what the context says, see
	// WithClass, which is Default if it says nothing. What is marked as work that nobody
	// waits for, such as the refreshes of package stale, is Background in any case. If
	// it panics, the request is Default.
	Class func(*http.Request) Class `json:"-"`

	// ClassHeader, if set, is the field in which a class travels from service to
	// service: Transport sends it unless it is Default, Handler lowers a request to the
	// class that is named there. It never raises one, as anybody can write a header,
	// unless ClassTrusted says that this one is from somebody who may.
	ClassHeader  string
	ClassTrusted func(*http.Request) bool `json:"-"`

	// DemoteRetries classes what is tried again one lower, down to Sheddable: by the
	// field Retry-Attempt, which package retry sends where retry.Config.AttemptHeader is
	// set, and on the client by what it leaves in the context.
	DemoteRetries bool

	// Tenant names whom a request is for. With it, tenants take turns in the queue, see
	// Request.Tenant, and where nobody waits, as at the gates, load is shed by tenants:
	// most of them are served as if there was none, the others not, and the same ones in
	// all processes. Who they are changes by the hour. "" is nobody.
	Tenant func(*http.Request) string `json:"-"`

	// Bypass says which requests Handler lets in whatever happens; they are counted.
	// Nil means those for /livez, /readyz, /healthz, /metrics and below /debug/pprof/,
	// spelled just so: behind dots, doubled or escaped slashes may be anything. Others,
	// such as /readyz/ping, have to be named, and these with them: see the example.
	Bypass func(*http.Request) bool `json:"-"`

	// Stream says which requests are for streams: they hold a place of MaxStreams
	// instead of one of the limit, and their latency means nothing. Those that turn out
	// to be streams (101, Hijack, text/event-stream, application/grpc) change places
	// then, if there is one. For gRPC that is all calls, as the headers do not say which
	// of them have one answer only: Acquire in an interceptor finds a limit for those.
	Stream func(*http.Request) bool `json:"-"`

	// Judge says what an answer or error tells of load. Nil, or ByRule, means: 503,
	// 504, timeouts and on the client 429 are Overload; what the caller has left,
	// refusals of our own, and other errors, 4xx and 5xx are Ignore, as they are quick
	// for reasons of their own; the rest is Success. If it panics, the call is Ignore.
	Judge func(*http.Response, error) Outcome `json:"-"`

	// JudgeError is Judge for Do, Run and Permit.Release.
	JudgeError func(error) Outcome `json:"-"`

	// Limit is how many calls are let in at a time: Adaptive, AIMD or Fixed. Not every
	// Class gets all of it; see "Who is refused first".
	Limit Limit

	// MinLimit and MaxLimit bound what Adaptive and AIMD find, StartLimit is where
	// they begin. Zero means 2, 1000, and four per processor that there is then, but at
	// most 32. In an overload right after the start, when it is not known yet what calls
	// take, Adaptive cuts the limit until that changes nothing, which can take it down to
	// MinLimit for seconds: where you know what the service can do at least, say so there.
	MinLimit, MaxLimit, StartLimit int

	// MaxStreams bounds the streams of a key. Zero means 10,000; Off means no bound.
	MaxStreams int

	// MaxWait is how long a call waits for a place. One that would have to wait
	// longer, going by how fast places become free, or for more than half of what is
	// left until its deadline, is refused at once; and after that time, should the
	// prediction have been wrong, or not possible because no call has ended yet. Zero
	// means 20 ms; Off means no waiting: who finds no place is refused.
	MaxWait time.Duration

	// NewestFirst serves who came last first, within a class: for requests without
	// deadlines whose callers give up unseen. Who comes later cannot be foreseen: those
	// who are overtaken hear of it only when their time is up.
	NewestFirst bool

	// CPUThreshold is how many requests may wait for a processor, per processor, before
	// some are refused, the least important first. Zero means 2; Off means no such gate,
	// as on clients.
	//
	// They have to wait for more than 20 ms as well, in the mean: a hundred that take
	// microseconds are gone at once. How long that is follows from how many wait and how
	// many come in a second (Little's law). The part that is refused grows with what is
	// above both, by a half of it at once and by as much again in each 100 ms that it lasts
	// (a PI controller), and by a tenth at most for each reading, of which there is one in
	// a millisecond. It never exceeds 95 %. When the load is gone it is 0 within 100 ms.
	//
	// CPULoad, if set, gives the number per processor instead of Go's scheduler, and then
	// the number alone counts. It may stay where the gate is Off, and is not asked then. If
	// it panics, it has said 0, and Observe is told.
	CPUThreshold float64
	CPULoad      func() float64 `json:"-"`

	// HeapThreshold, if set, is the part of GOMEMLIMIT, above 0 and at most 1, that may
	// be alive before some requests are refused, the least important first. Without a
	// GOMEMLIMIT it does nothing, and the Snapshot says so.
	HeapThreshold float64

	// MaxKeys bounds the limits of different keys. Zero means 1024. Past it, the one
	// unused for longest gives way if nothing is under way in it. Where something is
	// under way in all of them, further keys share a limit.
	MaxKeys int

	// LevelHeader, if set, is a field in which answers carry the level of brownout,
	// as a number from 0 to 1, so that clients can leave out things as well. Caches keep
	// it with the answer: a client should believe it only where there is none between.
	LevelHeader string

	// Refused writes the answer to a request that Handler does not let in; Retry-After,
	// see LimitedError.After, and Cache-Control: no-store are in its header already. Nil
	// means 503 with a line of text.
	Refused func(http.ResponseWriter, *http.Request, error) `json:"-"`

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *Config) complete() error {
	contradictions := cfg.contradictions()
	cfg.MinLimit = cmp.Or(cfg.MinLimit, DefaultMinLimit)
	cfg.MaxLimit = cmp.Or(cfg.MaxLimit, max(DefaultMaxLimit, cfg.MinLimit))
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, DefaultMaxStreams)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, DefaultMaxWait)
	cfg.CPUThreshold = cmp.Or(cfg.CPUThreshold, DefaultCPUThreshold)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, DefaultMaxKeys)
	return errors.Join(contradictions, cfg.validate())
}

// contradictions returns what is set and would have no effect.
func (cfg *Config) contradictions() error {
	var wrong []error
	if cfg.Limit.kind == isFixed && (cfg.MinLimit != 0 || cfg.MaxLimit != 0 || cfg.StartLimit != 0) {
		wrong = append(wrong, bad("Config.MinLimit, MaxLimit and StartLimit mean nothing where Limit is %v", cfg.Limit))
	}
	if cfg.NewestFirst && cfg.MaxWait == Off {
		wrong = append(wrong, bad("Config.NewestFirst means nothing where MaxWait is Off"))
	}
	if cfg.ClassTrusted != nil && cfg.ClassHeader == "" {
		wrong = append(wrong, bad("Config.ClassTrusted means nothing without ClassHeader"))
	}
	return errors.Join(wrong...)
}

// start is where the limit of a new key begins. The number of processors changes while
// a program runs.
func (cfg *Config) start() int {
	start := cmp.Or(cfg.StartLimit, min(32, 4*runtime.GOMAXPROCS(0)))
	return min(max(start, cfg.MinLimit), cfg.MaxLimit)
}

// longest bounds MaxWait: far above what makes sense.
const longest = time.Hour

func (cfg *Config) validate() error {
	var wrong []error
	number := func(field string, n, most int, off bool) {
		if (n < 1 || n > most) && (!off || n != Off) {
			wrong = append(wrong, bad("Config.%s is %d, not from 1 to %d", field, n, most))
		}
	}
	const most = 1_000_000
	number("MinLimit", cfg.MinLimit, most, false)
	number("MaxLimit", cfg.MaxLimit, most, false)
	if cfg.StartLimit != 0 {
		number("StartLimit", cfg.StartLimit, most, false)
	}
	number("MaxStreams", cfg.MaxStreams, most*100, true)
	number("MaxKeys", cfg.MaxKeys, most*100, false)
	if cfg.Limit.kind == isFixed {
		number("Limit of Fixed", cfg.Limit.n, most, false)
	} else if start := cmp.Or(cfg.StartLimit, cfg.MinLimit); start < cfg.MinLimit || start > cfg.MaxLimit {
		wrong = append(wrong, bad("Config.MinLimit %d, StartLimit %d and MaxLimit %d are not in this order",
			cfg.MinLimit, cfg.StartLimit, cfg.MaxLimit))
	}
	if cfg.MaxWait != Off && (cfg.MaxWait <= 0 || cfg.MaxWait > longest) {
		wrong = append(wrong, bad("Config.MaxWait is %v, not above 0 and at most %v, nor Off", cfg.MaxWait, longest))
	}
	if cpu := cfg.CPUThreshold; cpu != Off && !(cpu > 0 && cpu <= most) { // NaN is neither
		wrong = append(wrong, bad("Config.CPUThreshold is %v, not above 0 nor Off", cpu))
	}
	if heap := cfg.HeapThreshold; heap != 0 && !(heap > 0 && heap <= 1) { // NaN is neither
		wrong = append(wrong, bad("Config.HeapThreshold is %v, not above 0 and at most 1", heap))
	}
	wrong = append(wrong, fieldName("ClassHeader", cfg.ClassHeader), fieldName("LevelHeader", cfg.LevelHeader))
	return errors.Join(wrong...)
}

// fieldName says what is wrong with the name of a header field, which may be missing.
func fieldName(field, value string) error {
	for _, c := range []byte(value) {
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return bad("Config.%s is %q, which is no name of a header field", field, value)
	}
	return nil
}

func bad(format string, args ...any) error { return fmt.Errorf("backpressure: "+format, args...) }

// isVital reports whether a request is of those by which others watch a service: an
// overloaded one that does not answer them is killed for it, or flown blind. What a
// router or a proxy behind this may read as another path is none of them.
func isVital(req *http.Request) bool {
	switch p := req.URL.Path; p {
	case "/livez", "/readyz", "/healthz", "/metrics":
		return req.URL.RawPath == ""
	default:
		below, ok := strings.CutPrefix(p, "/debug/pprof/")
		return ok && req.URL.RawPath == "" && (below == "" || path.Clean(p) == p)
	}
}
