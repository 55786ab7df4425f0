package stale

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// Off switches a rule off, where the comment of its field says so.
const Off = -1

// The defaults of a Config.
const (
	DefaultStaleIfError = time.Hour
	DefaultMaxBytes     = 64 << 20
	DefaultMaxObject    = 1 << 20
	DefaultMaxVariants  = 32
	DefaultMaxRefreshes = 64
	DefaultHitForMiss   = 2 * time.Minute
	DefaultFailureTTL   = 2 * time.Second
	DefaultFetchTimeout = 30 * time.Second
	DefaultStoreTimeout = 20 * time.Millisecond
	DefaultName         = "failsoft"
)

// Config says what is stored, when an old answer is better than none, and how
// much of everything. The zero Config is the default, meant for production:
// responses are stored if they say so themselves, and old ones are answered when
// the origin fails or is slow.
type Config struct {
	// Shared makes Transport store for everybody, as a gateway does: not what is
	// private, nor what belongs to a user. Without it what Transport stores is for
	// one user agent. Handler always is a shared cache.
	Shared bool

	// Key names the resource that a request is for, instead of its effective URL:
	// scheme, host, path and query. What it leaves out must not change the answer.
	// Requests for which it is "" are passed on. With it purge by PurgeKey: PurgeURL
	// finds what has the URL as its key, and says nothing where it finds nothing.
	Key func(*http.Request) string `json:"-"`

	// Bypass says which requests the Cache has nothing to do with.
	Bypass func(*http.Request) bool `json:"-"`

	// ErrorWhen says which responses, by status and header, are failures beside
	// 500, 502, 503 and 504. The Body is not there to be read.
	ErrorWhen func(*http.Response) bool `json:"-"`

	// Healthy says whether the origin is well, for StaleIfSick; nil is always. It is
	// called by requests and must answer at once: Status of a healthcheck.Checker does.
	Healthy func() bool `json:"-"`

	// StoreSetCookie lets shared caches store responses with Set-Cookie, which
	// everybody then gets the same of.
	StoreSetCookie bool

	// Heuristics derives a lifetime from Last-Modified where a response names none
	// (RFC 9111, section 4.2.2): a tenth of its age, at most a day.
	Heuristics bool

	// TargetedFields are read instead of Cache-Control by shared caches, the first
	// that is there (RFC 9213). Nil means CDN-Cache-Control; empty means none.
	// Surrogate-Control may be among them.
	TargetedFields []string

	// IgnoreCookies are names of cookies that do not make a request personal: those
	// of analytics, usually. A name that ends with * stands for all that begin so.
	IgnoreCookies []string

	// IgnoreClientControl ignores what requests say in Cache-Control and Pragma, so
	// that the reload button of a browser does not reach the origin.
	IgnoreClientControl bool

	// Store is where entries are kept. Nil means NewMemory(MaxBytes).
	Store Store `json:"-"`

	// MaxBytes bounds the memory of the default Store, headers included, and an
	// eighth of it, but no less than MaxObject, what is being filled at a time, beside
	// it: past that, misses are passed on unstored. Zero means 64 MiB.
	MaxBytes int64

	// MaxObject bounds the body of a response that is stored. Zero means 1 MiB,
	// or an eighth of MaxBytes if that is less.
	MaxObject int64

	// MaxVariants bounds the responses to one URL that Vary tells apart. Zero means
	// 32.
	MaxVariants int

	// MaxRefreshes bounds the requests to the origin that nobody waits for: past
	// it, old entries are not refreshed behind the answer, and a fetch ends with the
	// client that it is for. Zero means 64.
	MaxRefreshes int

	// StaleAfter is how long a request waits for the origin while there is a stale
	// response that may answer: then it does, and the fetch goes on. Zero means the
	// 95th percentile of the origin's latency, learned for each host, from 50 ms to
	// 1 s; or Off.
	StaleAfter time.Duration

	// DefaultStaleIfError is how long past its lifetime a response may answer when
	// the origin fails, where its own stale-if-error does not say. Zero means one
	// hour; or Off.
	DefaultStaleIfError time.Duration

	// DefaultStaleWhileRevalidate is how long past its lifetime a response answers
	// at once and is refreshed behind, where its own stale-while-revalidate does
	// not say. Zero means not at all.
	DefaultStaleWhileRevalidate time.Duration

	// StaleIfSick is how long past its lifetime a response answers at once while
	// Healthy says no. Zero means a day, if there is Healthy; or Off.
	StaleIfSick time.Duration

	// EarlyRefresh is the factor by which busy entries are refreshed before they
	// are stale: 1 does so early enough that hardly anybody meets a stale one, more
	// does earlier (XFetch; see the package documentation). Zero means 1; or Off.
	EarlyRefresh float64

	// HitForMiss is how long requests are passed on side by side once a response
	// could not be stored. Zero means 2 min; or Off.
	HitForMiss time.Duration

	// FailureTTL is how long the origin is left alone, plus or minus a quarter,
	// after two failures in a row to a request for which nothing is stored. Zero
	// means 2 s; or Off.
	FailureTTL time.Duration

	// FetchTimeout bounds a request to the origin, also when its client has left or
	// has been answered by a stale response. It does not cut an answer that somebody
	// reads, but begins anew when nobody does any more. Zero means 30 s.
	FetchTimeout time.Duration

	// StoreTimeout bounds each call of a Store other than the default: past it, the
	// answer is a miss. Zero means 20 ms.
	StoreTimeout time.Duration

	// Name stands for this cache in Cache-Status (RFC 9211). Zero means failsoft.
	Name string

	// ShowKey adds the key to Cache-Status. It tells strangers what is kept apart.
	ShowKey bool

	// Observe is told what happens; see Event. Nil means nobody is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// longest bounds all durations: far above what makes sense, far below what
// overflows.
const longest = 10 * 365 * 24 * time.Hour

// complete replaces every zero by its default and returns everything that is
// wrong with cfg.
func (cfg *Config) complete() error {
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	cfg.MaxObject = cmp.Or(cfg.MaxObject, min(DefaultMaxObject, cfg.MaxBytes/8))
	cfg.MaxVariants = cmp.Or(cfg.MaxVariants, DefaultMaxVariants)
	cfg.MaxRefreshes = cmp.Or(cfg.MaxRefreshes, DefaultMaxRefreshes)
	cfg.DefaultStaleIfError = cmp.Or(cfg.DefaultStaleIfError, DefaultStaleIfError)
	cfg.DefaultStaleWhileRevalidate = cmp.Or(cfg.DefaultStaleWhileRevalidate, Off)
	cfg.StaleIfSick = cmp.Or(cfg.StaleIfSick, 24*time.Hour)
	cfg.EarlyRefresh = cmp.Or(cfg.EarlyRefresh, 1)
	cfg.HitForMiss = cmp.Or(cfg.HitForMiss, DefaultHitForMiss)
	cfg.FailureTTL = cmp.Or(cfg.FailureTTL, DefaultFailureTTL)
	cfg.FetchTimeout = cmp.Or(cfg.FetchTimeout, DefaultFetchTimeout)
	cfg.StoreTimeout = cmp.Or(cfg.StoreTimeout, DefaultStoreTimeout)
	cfg.Name = cmp.Or(cfg.Name, DefaultName)
	if cfg.TargetedFields == nil {
		cfg.TargetedFields = []string{"CDN-Cache-Control"}
	}
	return cfg.validate()
}

func (cfg *Config) validate() error {
	var wrong []error
	bytes := func(field string, n int64) {
		if n < 1 {
			wrong = append(wrong, bad("Config.%s is %d, not at least 1", field, n))
		}
	}
	within := func(field string, d time.Duration, off bool) {
		if (d <= 0 || d > longest) && (!off || d != Off) {
			wrong = append(wrong, bad("Config.%s is %v, not above 0 and at most %v", field, d, longest))
		}
	}
	bytes("MaxBytes", cfg.MaxBytes)
	bytes("MaxObject", cfg.MaxObject)
	if cfg.MaxObject > cfg.MaxBytes {
		wrong = append(wrong, bad("Config.MaxObject is %d, above Config.MaxBytes, %d", cfg.MaxObject, cfg.MaxBytes))
	}
	bytes("MaxVariants", int64(cfg.MaxVariants))
	bytes("MaxRefreshes", int64(cfg.MaxRefreshes))
	if cfg.StaleAfter != 0 {
		within("StaleAfter", cfg.StaleAfter, true)
	}
	within("DefaultStaleIfError", cfg.DefaultStaleIfError, true)
	within("DefaultStaleWhileRevalidate", cfg.DefaultStaleWhileRevalidate, true)
	within("StaleIfSick", cfg.StaleIfSick, true)
	within("HitForMiss", cfg.HitForMiss, true)
	within("FailureTTL", cfg.FailureTTL, true)
	within("FetchTimeout", cfg.FetchTimeout, false)
	within("StoreTimeout", cfg.StoreTimeout, false)
	if f := cfg.EarlyRefresh; f != Off && !(f > 0 && f <= 100) {
		wrong = append(wrong, bad("Config.EarlyRefresh is %v, not in (0,100] nor Off", cfg.EarlyRefresh))
	}
	if !isToken(cfg.Name) {
		wrong = append(wrong, bad("Config.Name is %q, not a token", cfg.Name))
	}
	for _, field := range cfg.TargetedFields {
		if !isToken(field) {
			wrong = append(wrong, bad("Config.TargetedFields has %q, not the name of a field", field))
		}
	}
	return errors.Join(wrong...)
}

func bad(format string, args ...any) error { return fmt.Errorf("stale: "+format, args...) }

// isToken reports whether text can stand in a header as it is.
func isToken(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return text != "" && (text[0] < '0' || text[0] > '9') && text[0] != '-' && text[0] != '.'
}

// canonical returns the names as http.Header spells them.
func canonical(names []string) []string {
	spelled := make([]string, len(names))
	for i, name := range names {
		spelled[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	return spelled
}

// MarkDegraded tells the Caches above that something was left out of the answer
// that is being made under ctx: it serves those who wait for it, and is not stored;
// an older one that is whole stays. An app calls it when it answers without a part
// that it could not get.
func MarkDegraded(ctx context.Context) { attempt.MarkDegraded(ctx) }

// Background reports whether nobody waits for the answer that is being made under
// ctx, because the Cache, or Loader, refreshes an entry.
func Background(ctx context.Context) bool { return attempt.Background(ctx) }
