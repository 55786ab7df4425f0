package stale_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rttest"
	"github.com/failsoft/failsoft/stale"
)

// version is one answer of the origin, as the model remembers it: enough to say
// of any later answer whether it may have been given.
type version struct {
	path, lang, user, control string
	until                     time.Time // when it was last known to hold: as of a 304
	epoch                     int       // purges that had begun when the origin was asked
}

// model is the slow and obvious truth: all that was ever answered.
type model struct {
	mu       sync.Mutex
	versions []version
	begun    map[string]int // purges of a path
	epoch    map[string]int // those that are over
	down     bool
	slow     time.Duration
	control  string
	vary     bool
}

// controls are what the origin may say. User says that the answer is for one user.
var controls = []string{
	"max-age=10", "public, max-age=10", "max-age=10, stale-while-revalidate=20", "max-age=10, stale-if-error=20",
	"max-age=10, must-revalidate", "no-cache", "no-store", "private, max-age=10", "max-age=0", "s-maxage=10",
	"public, max-age=10, stale-while-revalidate=20, stale-if-error=40", "max-age=10, no-cache", "",
}

func (m *model) serve(w http.ResponseWriter, req *http.Request) {
	m.mu.Lock()
	v := version{
		path: req.URL.Path, lang: req.Header.Get("Lang"), user: req.Header.Get("Cookie"), control: m.control,
		until: time.Now(), epoch: m.begun[req.URL.Path],
	}
	id := len(m.versions)
	down, slow, vary := m.down, m.slow, m.vary
	known, _ := strconv.Atoi(strings.Trim(req.Header.Get("If-None-Match"), `"`))
	holds := req.Header.Get("If-None-Match") != "" && m.versions[known].path == v.path && id%3 == 0
	if holds {
		m.versions[known].epoch = v.epoch
	} else {
		m.versions = append(m.versions, v)
	}
	m.mu.Unlock()

	if nap(req.Context(), slow) != nil {
		return
	}
	m.change(func() { // who asked meanwhile may have it, too
		if !holds {
			known = id
		}
		m.versions[known].until = time.Now()
	})
	h := w.Header()
	if vary {
		h.Set("Vary", "Lang")
	}
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case holds:
		w.WriteHeader(http.StatusNotModified)
	default:
		h.Set("Cache-Control", v.control)
		h.Set("ETag", strconv.Quote(strconv.Itoa(id)))
		h.Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strconv.Itoa(id))
	}
}

// judge says what is wrong with an answer that has come for a request that was made
// then, or "".
func (m *model) judge(g got, req *http.Request, asked time.Time, epoch int, isShared bool) string {
	switch {
	case g.value != nil || g.status == 0 && g.err == nil:
		return "no answer"
	case g.err != nil || g.status >= 500:
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, err := strconv.Atoi(g.body)
	if err != nil || id >= len(m.versions) {
		return "an answer that nobody gave: " + g.body
	}
	v := m.versions[id]
	age := asked.Sub(v.until)
	fresh := v.until.Compare(asked) >= 0 // the origin was asked for it
	switch {
	case v.path != req.URL.Path:
		return "of something else"
	case m.vary && v.lang != req.Header.Get("Lang"):
		return "the wrong variant"
	case isShared && v.user != req.Header.Get("Cookie") && !isPublic(v.control):
		return "of another user"
	case !fresh && v.epoch < epoch:
		return "what had been purged"
	case !fresh && age >= limitOf(v.control):
		return fmt.Sprintf("%v old, against %q", age, v.control)
	case !fresh && req.Header.Get("Cache-Control") == "no-cache":
		return "stored, against no-cache"
	case !fresh && isShared && strings.Contains(v.control, "private"):
		return "private"
	default:
		return ""
	}
}

func isPublic(control string) bool {
	return strings.Contains(control, "public") || strings.Contains(control, "s-maxage")
}

// limitOf is how old an answer may ever become.
func limitOf(control string) time.Duration {
	is := func(text string) bool { return strings.Contains(control, text) }
	switch {
	case is("no-store"), is("no-cache"), control == "":
		return 0
	case is("must-revalidate"), is("s-maxage"):
		return 10 * time.Second
	case is("stale-if-error=40"):
		return 50 * time.Second
	case is("stale-if-error=20"):
		return 30 * time.Second
	case is("max-age=0"):
		return fuzzWindow
	default:
		return 10*time.Second + fuzzWindow
	}
}

// fuzzWindow is the operator's stale-if-error.
const fuzzWindow = time.Minute

// FuzzCache runs random sequences of requests, answers, failures, purges and time.
func FuzzCache(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		code := make([]byte, 200)
		for i := range code {
			code[i] = byte(r.Uint32())
		}
		f.Add(code)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 2000 {
			return
		}
		for _, door := range allDoors() {
			synctest.Test(t, func(t *testing.T) { runSequence(t, door, code) })
		}
	})
}

func TestCacheIsAsItsModel(t *testing.T) {
	r, programs := rand.New(rand.NewPCG(3, 4)), 60
	if rttest.UnderRace() { // whose own crash (see .ci/run) is the likelier the more timers fire; races have other tests
		programs = 6
	}
	for range programs {
		code := make([]byte, 400)
		for i := range code {
			code[i] = byte(r.Uint32())
		}
		for _, door := range allDoors() {
			synctest.Test(t, func(t *testing.T) { runSequence(t, door, code) })
		}
		if t.Failed() {
			return
		}
	}
}

// runSequence does what the bytes say: two for each step.
func runSequence(t *testing.T, door string, code []byte) {
	t.Helper()
	s := newSite(t, door, stale.Config{
		MaxBytes: 64 << 10, MaxObject: 1 << 10, MaxVariants: 2, MaxRefreshes: 3, StaleAfter: 300 * ms,
		DefaultStaleIfError: fuzzWindow,
	})
	m := &model{begun: map[string]int{}, epoch: map[string]int{}, control: controls[0], vary: len(code) > 0 && code[0]&1 == 1}
	s.answers(m.serve)
	var clients sync.WaitGroup
	for i := 0; i+1 < len(code); i += 2 {
		op, n := code[i], code[i+1]
		switch op % 16 {
		case 0:
			pause(time.Duration(n) * 100 * ms)
		case 1:
			pause(time.Duration(n) * 10 * ms)
		case 2:
			m.change(func() { m.control = controls[int(n)%len(controls)] })
		case 3:
			m.change(func() { m.down = n%2 == 0 })
		case 4:
			m.change(func() { m.slow = []time.Duration{0, 0, 100 * ms, time.Second, time.Minute}[n%5] })
		case 5, 6:
			m.purge(t, s, n)
		default:
			req := fuzzRequest(s, n)
			ctx, cancel := req.Context(), context.CancelFunc(func() {})
			if op&0x40 != 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*20*ms)
			}
			clients.Go(func() {
				defer cancel()
				m.client(t, s, req.WithContext(ctx))
			})
			if op&0x80 != 0 {
				synctest.Wait()
			}
		}
	}
	clients.Wait()
	pause(5 * time.Minute)
}

func (m *model) change(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}

func fuzzRequest(s *site, n byte) *http.Request {
	req := s.request("/" + strconv.Itoa(int(n&1)))
	if n&2 != 0 {
		req.Header.Set("Lang", strconv.Itoa(int(n>>2&1)))
	}
	if n&0x18 == 0x18 {
		req.Header.Set("Cookie", "user="+strconv.Itoa(int(n>>5&1)))
	}
	if n&0xc0 == 0xc0 {
		req.Header.Set("Cache-Control", "no-cache")
	}
	return req
}

func (m *model) client(t *testing.T, s *site, req *http.Request) {
	t.Helper()
	asked := time.Now()
	m.mu.Lock()
	epoch := m.epoch[req.URL.Path]
	m.mu.Unlock()
	g := s.ask(req)
	if req.Context().Err() != nil {
		return
	}
	if wrong := m.judge(g, req, asked, epoch, s.door != ofUserAgent); wrong != "" {
		t.Errorf("%s %s %v at %v: %s: %d %v %q", s.door, req.URL.Path, req.Header, asked, wrong, g.status, g.header, g.body)
	}
}

func (m *model) purge(t *testing.T, s *site, n byte) {
	t.Helper()
	path := "/" + strconv.Itoa(int(n&1))
	concerned := []string{path}
	if n&2 != 0 {
		concerned = []string{"/0", "/1"}
	}
	m.count(m.begun, concerned)
	if n&2 == 0 {
		require.NoError(t, s.cache.PurgeURL(t.Context(), "http://shop.test"+path, stale.Hard))
	} else {
		require.NoError(t, s.cache.PurgeAll(t.Context(), stale.Hard))
	}
	m.count(m.epoch, concerned)
}

func (m *model) count(purges map[string]int, paths []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, path := range paths {
		purges[path]++
	}
}

// TestSoakWithPurges runs clients and purges side by side on real goroutines: after a
// purge has returned, nobody may get what was made before it.
func TestSoakWithPurges(t *testing.T) {
	const keys, clients, rounds = 4, 8, 1500
	var made [keys]atomic.Int64 // what the origin answers with
	var failing atomic.Bool
	cache := stale.MustNew(stale.Config{MaxBytes: 64 << 10, MaxVariants: 2})
	h := cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		key, _ := strconv.Atoi(req.URL.Path[1:])
		if failing.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		text := strconv.FormatInt(made[key].Load(), 10)
		says(text, "Cache-Control", "max-age=60", "Cache-Groups", `"g`+req.URL.Path[1:]+`"`, "Vary", "Lang")(w, req)
	}))
	var all, purger sync.WaitGroup
	var done atomic.Bool
	begun := time.Now()
	proven := func() bool { // who purges may not get a turn for a while, or all of them
		shot := cache.Snapshot()
		return min(shot.Hits, shot.Misses) > rounds/10 || time.Since(begun) > 30*time.Second
	}
	for c := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for round := 0; round < rounds || !proven(); round++ {
				key := r.IntN(keys)
				least := made[key].Load() - 1 // the purge of the latest may be under way
				req := newRequest("/" + strconv.Itoa(key))
				req.Header.Set("Lang", strconv.Itoa(r.IntN(3)))
				g := askHandler(h, req)
				if g.status != http.StatusOK {
					continue
				}
				is, err := strconv.ParseInt(g.body, 10, 64)
				if assert.NoError(t, err) {
					assert.GreaterOrEqual(t, is, least, "it was purged")
				}
			}
		})
	}
	purger.Go(func() {
		r := rand.New(rand.NewPCG(9, 9))
		for i := 0; !done.Load(); i++ {
			for range 50 {
				runtime.Gosched()
			}
			key := r.IntN(keys)
			made[key].Add(1)
			text := strconv.Itoa(key)
			switch i % 3 {
			case 0:
				assert.NoError(t, cache.PurgeURL(t.Context(), "http://shop.test/"+text, stale.Hard))
			case 1:
				assert.NoError(t, cache.PurgeTag(t.Context(), "g"+text, stale.Hard))
			default:
				assert.NoError(t, cache.PurgeAll(t.Context(), stale.Hard))
			}
			failing.Store(i%50 > 45)
		}
	})
	all.Wait()
	done.Store(true)
	purger.Wait()
	require.NoError(t, cache.Close(t.Context()))
	shot := cache.Snapshot()
	assert.Zero(t, shot.Unattended)
	assert.Zero(t, shot.Filling)
	assert.Greater(t, shot.Hits, uint64(rounds)/10, "or nothing is proven")
	assert.Greater(t, shot.Misses, uint64(rounds)/10)
}
