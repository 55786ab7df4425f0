package stale_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/cachetest"
	"github.com/failsoft/failsoft/stale"
)

// twinSteps are requests on whose answers we and Varnish agree. What is not here is where
// we do more: unsafe methods invalidate, errors are remembered, what clients say in
// Cache-Control is heard, If-None-Match may have several tags or a *, several ranges come
// in one answer, HEAD fetches no body.
func twinSteps() []twinStep {
	const ranges, match = "Range", "If-None-Match"
	at := func(path string) twinStep { return twinStep{path: path} }
	return []twinStep{
		// Fresh hits.
		at("/fresh"), at("/fresh"), at("/fresh").as("HEAD"), at("/fresh?page=2"), at("/fresh?page=2"),
		at("/fresh").with("Host", "other.test"), at("/fresh").with("Host", "other.test"), at("/fresh"),
		at("/aged"), at("/aged"), at("/shared"), at("/shared"), at("/expires"), at("/expires"),
		at("/missing"), at("/missing"), at("/moved"), at("/moved"),
		at("/silent"), at("/silent"), at("/down"),
		// One fetch for all who ask.
		at("/slow").times(20), at("/slow"),

		// Variants.
		at("/vary").with("Accept-Language", "de"), at("/vary").with("Accept-Language", "en"),
		at("/vary").with("Accept-Language", "de"), at("/vary").with("Accept-Language", "en"), at("/vary"), at("/vary"),
		at("/vary-all"), at("/vary-all"),

		// What a client has already, and parts of what is stored.
		at("/fresh").with(match, `"fresh"`), at("/fresh").with(match, `W/"fresh"`), at("/fresh").with(match, `"other"`),
		at("/fresh").with("If-Modified-Since", twinModified), at("/fresh").with("If-Modified-Since", "Sun, 01 Jan 2006 15:04:05 GMT"),
		at("/fresh").with(ranges, "bytes=0-9"), at("/fresh").with(ranges, "bytes=-5"), at("/fresh").with(ranges, "bytes=40-"),
		at("/fresh").with(ranges, "bytes=900-"), at("/fresh").with(ranges, "bytes=40-900"), at("/fresh").with(ranges, "lines=1-2"),
		at("/fresh").with(ranges, "bytes=0-9").with("If-Range", `"fresh"`),
		at("/fresh").with(ranges, "bytes=0-9").with("If-Range", `"other"`),

		// For one only: never stored, and no queue once that is known.
		at("/private"), at("/private"), at("/private").times(5), at("/no-store"), at("/no-store"),
		at("/set-cookie"), at("/set-cookie"), at("/no-cache"), at("/no-cache"),
		at("/asked").with("Cookie", "a=b"), at("/asked").with("Cookie", "a=b"), at("/asked"), at("/asked"),
		at("/asked").with("Cookie", "a=b"), at("/asked"),
		at("/user").with("Authorization", "Basic eA=="), at("/user"), at("/user"),

		// Old ones: validated, changed, or answered at once and refreshed behind.
		at("/valid"), at("/changed"), at("/grace"), at("/grace-valid"), at("/old"),
		{name: "they get old", pause: 3100 * time.Millisecond},
		at("/valid"), at("/valid"), at("/changed"), at("/changed"), at("/old"), at("/old"),
		at("/grace").behind(), at("/grace"), at("/grace-valid").behind(), at("/grace-valid"),
		{name: "they get older", pause: 3100 * time.Millisecond},
		at("/valid"), at("/valid").as("HEAD"), at("/grace").behind().with(ranges, "bytes=0-9"), at("/grace").with(ranges, "bytes=0-9"),
	}
}

const twinModified = "Mon, 02 Jan 2006 15:04:05 GMT"

// twinOrigin answers by path, and counts.
type twinOrigin struct {
	mu   sync.Mutex
	seen int
	by   map[string]int
}

func (o *twinOrigin) requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}

func (o *twinOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.seen++
	o.by[r.Host+r.URL.String()]++
	number := o.by[r.Host+r.URL.String()]
	o.mu.Unlock()
	say := func(control, tag string) {
		w.Header().Set("Cache-Control", control)
		w.Header().Set("ETag", `"`+tag+`"`)
	}
	status, text := http.StatusOK, fmt.Sprintf("%s%s, number %d, and some more that is there to be cut", r.Host, r.URL, number)
	w.Header().Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/fresh":
		say("max-age=60", "fresh")
		w.Header().Set("Last-Modified", twinModified)
	case "/aged":
		say("max-age=60", "aged")
		w.Header().Set("Age", "30")
	case "/shared":
		say("max-age=0, s-maxage=60", "shared")
	case "/expires":
		w.Header().Set("Expires", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
	case "/missing":
		say("max-age=60", "missing")
		status = http.StatusNotFound
	case "/moved":
		say("max-age=60", "moved")
		w.Header().Set("Location", "/fresh")
		status = http.StatusMovedPermanently
	case "/down":
		status = http.StatusServiceUnavailable
	case "/slow":
		say("max-age=60", "slow")
		<-time.After(300 * time.Millisecond)
	case "/vary":
		say("max-age=60", r.Header.Get("Accept-Language"))
		w.Header().Set("Vary", "Accept-Language")
		text = "in " + r.Header.Get("Accept-Language")
	case "/vary-all":
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "*")
	case "/private", "/no-store", "/no-cache":
		w.Header().Set("Cache-Control", r.URL.Path[1:])
	case "/set-cookie":
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", "a="+strconv.Itoa(number))
	case "/asked", "/user":
		w.Header().Set("Cache-Control", "max-age=60")
	case "/valid":
		say("max-age=2", "valid")
	case "/changed":
		say("max-age=2", strconv.Itoa(number))
	case "/grace":
		say("max-age=2, stale-while-revalidate=60", strconv.Itoa(number))
	case "/grace-valid":
		say("max-age=2, stale-while-revalidate=60", "same")
	case "/old":
		w.Header().Set("Cache-Control", "max-age=2")
	}
	if tag := w.Header().Get("ETag"); tag != "" && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// twinStep is one request, or several at once, or a pause.
type twinStep struct {
	name   string
	method string
	path   string
	header [][2]string
	many   int
	bg     bool // a refresh is to follow
	pause  time.Duration
}

func (s twinStep) as(method string) twinStep { s.method = method; return s }
func (s twinStep) times(n int) twinStep      { s.many = n; return s }
func (s twinStep) behind() twinStep          { s.bg = true; return s }

func (s twinStep) with(name, value string) twinStep {
	s.header = append(slices.Clip(s.header), [2]string{name, value})
	return s
}

func (s twinStep) String() string {
	return fmt.Sprintf("%s %s %q, %d at once", cmp.Or(s.method, "GET"), s.path, s.header, max(s.many, 1))
}

// seen is what can be seen of a cache from outside, by a client and by the origin.
type seen struct {
	Answers  []seenAnswer
	Requests int // that reached the origin
}

type seenAnswer struct {
	Status int
	Header map[string]string
	Body   string
}

// twin is one of two caches in front of origins that are alike.
type twin struct {
	origin  *twinOrigin
	address string
	client  *http.Transport
}

func newTwin() *twin {
	return &twin{
		origin: &twinOrigin{by: make(map[string]int)},
		client: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	}
}

// play makes a step. The ages of answers that the origin has not seen are apart, as they
// may differ by a second.
func (w *twin) play(t *testing.T, s twinStep) (seen, []int) {
	t.Helper()
	before := w.origin.requests()
	answers, ages := make([]seenAnswer, max(s.many, 1)), make([]int, max(s.many, 1))
	var done sync.WaitGroup
	for i := range answers {
		done.Go(func() { answers[i], ages[i] = w.ask(t, s) })
	}
	done.Wait()
	if s.bg {
		assert.Eventually(t, func() bool { return w.origin.requests() > before }, 30*time.Second, 10*time.Millisecond)
		<-time.After(200 * time.Millisecond) // until it is stored
	}
	slices.SortFunc(answers, func(a, b seenAnswer) int { return cmp.Compare(a.Body, b.Body) })
	requests := w.origin.requests() - before
	if requests > 0 && !s.bg {
		ages = nil
	}
	return seen{answers, requests}, ages
}

func (w *twin) ask(t *testing.T, s twinStep) (seenAnswer, int) {
	req, err := http.NewRequestWithContext(t.Context(), cmp.Or(s.method, http.MethodGet), "http://"+w.address+s.path, nil)
	if !assert.NoError(t, err) {
		return seenAnswer{}, 0
	}
	req.Host = "twin.test"
	for _, field := range s.header {
		if field[0] == "Host" {
			req.Host = field[1]
		} else {
			req.Header.Add(field[0], field[1])
		}
	}
	resp, err := w.client.RoundTrip(req)
	if !assert.NoError(t, err) {
		return seenAnswer{}, 0
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	assert.NoError(t, err)
	a := seenAnswer{Status: resp.StatusCode, Header: make(map[string]string), Body: string(text)}
	for _, name := range []string{
		"Cache-Control", "Content-Length", "Content-Range", "Content-Type", "Etag", "Last-Modified", "Location", "Vary",
	} {
		if value := strings.Join(resp.Header[name], ", "); value != "" {
			a.Header[name] = value
		}
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		a.Body, a.Header = "", nil // an explanation, of which there are many
	}
	if resp.StatusCode == http.StatusNotModified { // it may repeat what describes the body
		delete(a.Header, "Content-Type")
		delete(a.Header, "Last-Modified")
	}
	age, _ := strconv.Atoi(resp.Header.Get("Age"))
	return a, age
}

// TestTwin has the same said to the Handler and to a real Varnish, each in front of the
// same application, and wants the same answers from both. On a machine that stands still
// for as long as some of them live, other answers are right: then all is said once more.
func TestTwin(t *testing.T) {
	const tries = 3
	for try := 1; ; try++ {
		differ, slow := playTwins(t)
		if len(differ) == 0 {
			return
		}
		if !slow || try == tries {
			t.Error(strings.Join(differ, "\n"))
			return
		}
		t.Logf("too slow to tell: %s", strings.Join(differ, "\n"))
	}
}

// differences are what comparisons find.
type differences []string

func (d *differences) Errorf(format string, args ...any) {
	*d = append(*d, fmt.Sprintf(format, args...))
}

// playTwins makes all steps, and returns where the answers differ, and whether a step took so
// long that two of them may be longer than a lifetime of two seconds.
func playTwins(t *testing.T) (differ differences, slow bool) {
	t.Helper()
	const longest = 900 * time.Millisecond
	theirs := newTwin()
	origin := httptest.NewServer(theirs.origin)
	t.Cleanup(origin.Close)
	// As we are: a lifetime only where the response names one, and something to validate.
	theirs.address = cachetest.Varnish(t, strings.TrimPrefix(origin.URL, "http://"),
		[]string{"default_ttl=0", "default_grace=0", "default_keep=3600"}, nil).Address

	ours := newTwin()
	cache := stale.MustNew(stale.Config{StaleAfter: stale.Off}) // Varnish knows of no such thing
	server := httptest.NewServer(cache.Handler(ours.origin))
	t.Cleanup(server.Close)
	ours.address = strings.TrimPrefix(server.URL, "http://")

	for i, s := range twinSteps() {
		if s.pause > 0 {
			<-time.After(s.pause)
			continue
		}
		begun := time.Now()
		here, ages := ours.play(t, s)
		there, theirAges := theirs.play(t, s)
		slow = slow || time.Since(begun) > longest
		require.Len(t, here.Answers, max(s.many, 1))
		assert.Equal(&differ, there, here, "step %d: %s", i, s)
		for n := range ages {
			if n < len(theirAges) {
				assert.InDelta(&differ, theirAges[n], ages[n], 1, "Age, step %d: %s", i, s)
			}
		}
	}
	return differ, slow
}
