package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// The roles of the cache.
const (
	roleHandler   = "handler"
	roleTransport = "transport"
	rolePrivate   = "private"
)

// config is what the command line says.
type config struct {
	listen, admin, token string

	origin  *url.URL
	role    string
	health  string
	timeout time.Duration
	drain   time.Duration
	grace   time.Duration
	events  bool
	rules   stale.Config
}

// words are what becomes of flags that are no options of stale.Config by themselves.
type words struct {
	origin                              string
	drop, bypass, targeted, errorStatus list
}

func readConfig(args []string, env func(string) string, errs io.Writer) (config, error) {
	cfg := config{token: env("EDGE_TOKEN")}
	var w words
	flags := flag.NewFlagSet("edge", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&cfg.listen, "listen", "127.0.0.1:8080", "the `address` to listen on")
	flags.StringVar(&cfg.admin, "admin", "", "the `address` for operators; none without it")
	flags.StringVar(&w.origin, "origin", "", "the `URL` of the origin: http://127.0.0.1:9000")
	flags.StringVar(&cfg.role, "role", roleHandler, "where the cache is: handler, transport or private")
	flags.StringVar(&cfg.health, "health", "",
		"a `URL` that says whether the origin is well: asked every 5 s, for -stale-if-sick")
	flags.DurationVar(&cfg.timeout, "origin-timeout", 20*time.Second, "how long the origin may take to begin an answer")
	flags.DurationVar(&cfg.drain, "drain", 0, "how long to serve on after SIGTERM, for balancers to notice")
	flags.DurationVar(&cfg.grace, "grace", 15*time.Second, "how long requests may take after that")
	flags.BoolVar(&cfg.events, "log-events", false, "log what the cache does")
	storing(flags, &cfg.rules, &w)
	staleness(flags, &cfg.rules, &w)
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("what is %q for?", flags.Arg(0))
	}
	return cfg, cfg.complete(w)
}

// storing are the flags for what is stored, and how much of it.
func storing(flags *flag.FlagSet, rules *stale.Config, w *words) {
	flags.Var(&w.drop, "drop-query", "`names` of query parameters that do not change the answer: utm_*,fbclid")
	flags.Var(&w.bypass, "bypass", "`paths` that the cache has nothing to do with, and all below: /account/,/cart/")
	flags.BoolVar(&rules.StoreSetCookie, "store-set-cookie", false,
		"store responses that set cookies: all get the same")
	flags.BoolVar(&rules.Heuristics, "heuristics", false, "derive a lifetime from Last-Modified where none is named")
	flags.Var(&w.targeted, "targeted-fields",
		"`names` of fields to read instead of Cache-Control, or none (default CDN-Cache-Control)")
	flags.Var((*list)(&rules.IgnoreCookies), "ignore-cookies",
		"`names` of cookies that do not make a request personal: _ga*")
	flags.BoolVar(&rules.IgnoreClientControl, "ignore-client-control", false,
		"do not let browsers reload from the origin")
	flags.Int64Var(&rules.MaxBytes, "max-bytes", 0, "bounds what is stored, in `bytes` (default 64 MiB)")
	flags.Int64Var(&rules.MaxObject, "max-object", 0, "bounds a response that is stored, in `bytes` (default 1 MiB)")
	flags.IntVar(&rules.MaxVariants, "max-variants", 0,
		"bounds the responses to a URL that Vary tells apart (default 32)")
	flags.Var((*term)(&rules.HitForMiss), "hit-for-miss",
		"how long requests go side by side after one that could not be stored, or off (default 2m)")
	flags.Var((*term)(&rules.StoreTimeout), "store-timeout",
		"bounds a call of a Store that is not the default (default 20ms)")
	flags.StringVar(&rules.Name, "name", "", "the `name` in Cache-Status (default failsoft)")
	flags.BoolVar(&rules.ShowKey, "show-key", false, "add the key to Cache-Status")
}

// staleness are the flags for when an old response answers, and when it is renewed.
func staleness(flags *flag.FlagSet, rules *stale.Config, w *words) {
	flags.Var(&w.errorStatus, "error-status", "`statuses` that are failures beside 500, 502, 503 and 504: 520,521")
	flags.Var((*term)(&rules.StaleAfter), "stale-after",
		"how long to wait for the origin while there is an old response, or off (default its 95th percentile)")
	flags.Var((*term)(&rules.DefaultStaleIfError), "stale-if-error",
		"how long an old response answers for a failing origin, if it does not say, or off (default 1h)")
	flags.Var((*term)(&rules.DefaultStaleWhileRevalidate), "stale-while-revalidate",
		"how long an old response answers while it is refreshed, if it does not say, or off (default off)")
	flags.Var((*term)(&rules.StaleIfSick), "stale-if-sick",
		"how long an old response answers while -health says that the origin is sick, or off (default 24h)")
	flags.Var((*factor)(&rules.EarlyRefresh), "early-refresh",
		"the factor by which busy entries are refreshed early, or off (default 1)")
	flags.IntVar(&rules.MaxRefreshes, "max-refreshes", 0, "bounds the fetches that nobody waits for (default 64)")
	flags.Var((*term)(&rules.FailureTTL), "failure-ttl",
		"how long the origin is left alone after two failures in a row, or off (default 2s)")
	flags.Var((*term)(&rules.FetchTimeout), "fetch-timeout", "bounds a fetch (default 30s)")
}

func (cfg *config) complete(w words) error {
	var err error
	switch cfg.origin, err = url.Parse(w.origin); {
	case err != nil:
		return fmt.Errorf("-origin: %w", err)
	case cfg.origin.Scheme != "http" && cfg.origin.Scheme != "https", cfg.origin.Host == "":
		return fmt.Errorf("-origin %q is not the URL of an origin: http://127.0.0.1:9000", w.origin)
	case !slices.Contains([]string{roleHandler, roleTransport, rolePrivate}, cfg.role):
		return fmt.Errorf("-role %q is not handler, transport or private", cfg.role)
	case cfg.timeout <= 0, cfg.drain < 0, cfg.grace <= 0:
		return fmt.Errorf("-origin-timeout %v or -grace %v is not positive, or -drain %v is negative",
			cfg.timeout, cfg.grace, cfg.drain)
	}
	cfg.rules.Shared = cfg.role != rolePrivate
	if len(w.targeted) > 0 {
		cfg.rules.TargetedFields = w.targeted
	}
	if slices.Equal(w.targeted, list{"none"}) {
		cfg.rules.TargetedFields = []string{}
	}
	if len(w.drop) > 0 {
		cfg.rules.Key = keyWithout(w.drop)
	}
	if len(w.bypass) > 0 {
		cfg.rules.Bypass = func(r *http.Request) bool {
			return slices.ContainsFunc(w.bypass, func(path string) bool { return below(r.URL.Path, path) })
		}
	}
	statuses := make([]int, len(w.errorStatus))
	for i, text := range w.errorStatus {
		if statuses[i], err = strconv.Atoi(text); err != nil || statuses[i] < 200 || statuses[i] > 999 {
			return fmt.Errorf("-error-status: %q is no status", text)
		}
	}
	if len(statuses) > 0 {
		cfg.rules.ErrorWhen = func(resp *http.Response) bool { return slices.Contains(statuses, resp.StatusCode) }
	}
	return nil
}

// below reports whether a path is prefix or in the folder of that name.
func below(path, prefix string) bool {
	rest, begins := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/"))
	return begins && (rest == "" || rest[0] == '/')
}

// keyWithout returns the key of a request, its URL, without some query parameters. It
// leaves the others in their order, and does not decode them: to the origin that may
// make a difference.
func keyWithout(names []string) func(*http.Request) string {
	dropped := func(parameter string) bool {
		name, _, _ := strings.Cut(parameter, "=")
		return slices.ContainsFunc(names, func(pattern string) bool {
			prefix, open := strings.CutSuffix(pattern, "*")
			return name == pattern || open && strings.HasPrefix(name, prefix)
		})
	}
	return func(r *http.Request) string {
		scheme := "http"
		if r.TLS != nil || r.URL.Scheme == "https" {
			scheme = "https"
		}
		key := scheme + "://" + strings.ToLower(r.Host) + r.URL.EscapedPath()
		query := strings.Join(slices.DeleteFunc(strings.Split(r.URL.RawQuery, "&"), dropped), "&")
		if query != "" {
			key += "?" + query
		}
		return key
	}
}

// list is a flag of words with commas between them, which may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			return errors.New("there is nothing between two commas")
		}
		*l = append(*l, word)
	}
	return nil
}

// off is what flags are set to that switch something off.
const off = "off"

// term is a duration, or off. Zero is the default.
type term time.Duration

func (t *term) String() string { return time.Duration(*t).String() }

func (t *term) Set(text string) error {
	if text == off {
		*t = stale.Off
		return nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	*t = term(d)
	return err
}

// factor is a number, or off. Zero is the default.
type factor float64

func (f *factor) String() string { return strconv.FormatFloat(float64(*f), 'g', -1, 64) }

func (f *factor) Set(text string) error {
	if text == off {
		*f = stale.Off
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && n < 0 {
		err = errors.New("it is negative")
	}
	*f = factor(n)
	return err
}
