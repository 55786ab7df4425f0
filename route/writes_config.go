package route

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// The defaults of a WritesConfig.
const (
	DefaultPinFor      = 5 * time.Second
	DefaultDirtyCookie = "dirty"
)

// maxPinFor bounds WritesConfig.PinFor: what takes longer than that to reach the
// replicas is broken.
const maxPinFor = 24 * time.Hour

// WritesConfig says how a session that has written is recognized. Only Secrets have no
// default.
type WritesConfig struct {
	// Store is what is written to: the Config.Store of the Pools of its hosts. It may
	// consist of letters, digits and the characters . _ and -.
	Store string

	// Secrets sign the cookie, at least 32 random bytes each. The first signs, all
	// verify: a new one is put last on all servers, then first, and when that has been
	// so for twice PinFor, the old one can go. All servers need the same.
	Secrets [][]byte `json:"-"`

	// Cookie is the name of the cookie, to which a hyphen and the Store are added unless
	// that is empty. Zero means dirty. A name that begins with __Host- keeps other hosts
	// of the same domain from setting it.
	Cookie string

	// Insecure sends the cookie over plain http, too.
	Insecure bool

	// PinFor is for how long a session reads from the primary after a write: longer than
	// replicas usually lag, and no shorter than the Pool's MaxLag. Clients forget the
	// cookie then; of those that do not, it is accepted for as long again, so that servers'
	// clocks may differ by that. Zero means 5 s; at most 24 h.
	PinFor time.Duration

	// OnlyReads reports whether a request only reads, whatever its method, by all but its
	// body: a POST with a query, say. Nil means that it does by the methods GET, HEAD,
	// OPTIONS and TRACE. It can be that of the Pool's Config. Of several stores, it says
	// what is for another; see Writes.Handler.
	OnlyReads func(*http.Request) bool `json:"-"`

	// Position returns the position of the store's log that a request has written up to,
	// for MarkPosition; it is asked once per write, before the header is sent, and must
	// not wait for long. A replica that has reached it may serve the session before
	// PinFor is over. Nil, or "", means that nobody knows.
	Position func(ctx context.Context) string `json:"-"`

	// Observe is told of CookieIgnored, PositionIgnored and MarkedLate. Nil means nobody
	// is.
	Observe func(ctx context.Context, e Event) `json:"-"`

	_ struct{}
}

// complete replaces every zero by its default and returns everything that is wrong
// with cfg.
func (cfg *WritesConfig) complete() error {
	var wrong []error
	cfg.PinFor = cmp.Or(cfg.PinFor, DefaultPinFor)
	cfg.Cookie = cmp.Or(cfg.Cookie, DefaultDirtyCookie)
	if !isWord(cfg.Store) {
		wrong = append(wrong, bad("WritesConfig.Store %q would be no part of a cookie's name", cfg.Store))
	}
	if !isWord(cfg.Cookie) {
		wrong = append(wrong, bad("WritesConfig.Cookie %q is no name of a cookie", cfg.Cookie))
	}
	if cfg.Insecure && strings.HasPrefix(cfg.Cookie, "__") {
		wrong = append(wrong, bad("WritesConfig.Cookie %q is refused by browsers when it is Insecure", cfg.Cookie))
	}
	if len(cfg.Secrets) == 0 {
		wrong = append(wrong, bad("WritesConfig.Secrets is empty: anybody could sign"))
	}
	for i, secret := range cfg.Secrets { // of which nothing but its length is told
		if len(secret) < minSecret {
			wrong = append(wrong, bad("WritesConfig.Secrets[%d] has %d bytes, less than %d", i, len(secret), minSecret))
		} else if len(bytes.Trim(secret, "\x00")) == 0 { // which nobody has read into
			wrong = append(wrong, bad("WritesConfig.Secrets[%d] has nothing but zeros", i))
		}
	}
	if cfg.PinFor <= 0 || cfg.PinFor > maxPinFor {
		wrong = append(wrong, bad("WritesConfig.PinFor is %v, not above 0 and at most %v", cfg.PinFor, maxPinFor))
	}
	if cfg.Store != "" {
		cfg.Cookie += "-" + cfg.Store
	}
	return errors.Join(wrong...)
}

// isWord reports whether a string can be part of the name of a cookie, and is short
// enough for the whole cookie to stay far below 4 KiB.
func isWord(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return len(s) <= 128
}
