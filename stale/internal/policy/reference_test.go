package policy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// The reference model: RFC 9111 read aloud, with maps and whole seconds, and
// without a thought of speed. It knows well-formed directives only; the fuzzer
// builds its header from numbers, so that nothing else comes up.

type model struct {
	shared            bool
	response, request map[string]int
	status            int
	date, age, delay  int // Seconds before receipt, the Age field or -1, and the response delay.
	swr, sie          int // The operator's windows.
	resident          int
}

func (m model) has(name string) bool  { _, ok := m.response[name]; return ok }
func (m model) asks(name string) bool { _, ok := m.request[name]; return ok }

func (m model) currentAge() int {
	apparent := max(0, m.date)
	corrected := max(0, m.age) + m.delay
	return max(apparent, corrected) + m.resident
}

func (m model) lifetime() int {
	if m.shared && m.has("s-maxage") {
		return m.response["s-maxage"]
	}
	return m.response["max-age"]
}

// staleProhibited is 4.2.4: what an origin can say against stale responses.
func (m model) staleProhibited() bool {
	explicit := m.has("stale-while-revalidate") || m.has("stale-if-error")
	return m.has("no-cache") || m.has("must-revalidate") || m.status >= 500 ||
		m.shared && (m.has("proxy-revalidate") || m.has("s-maxage") && !explicit)
}

func (m model) fresh() bool { return m.lifetime() > m.currentAge() }

// satisfied says whether the request is content without the origin.
func (m model) satisfied() bool {
	switch {
	case m.has("no-cache"), m.asks("no-cache"):
		return false
	case m.fresh() && m.has("immutable") && !m.asks("min-fresh"):
		return true
	case m.asks("max-age") && m.currentAge() > m.request["max-age"]:
		return false
	case m.asks("min-fresh") && m.lifetime()-m.currentAge() < m.request["min-fresh"]:
		return false
	case m.fresh():
		return true
	case m.staleProhibited(), m.shared && m.has("s-maxage"), m.asks("min-fresh"):
		return false
	default:
		return m.asks("max-stale") && m.currentAge()-m.lifetime() <= m.request["max-stale"]
	}
}

func (m model) window(name string, operator int) int {
	if seconds, ok := m.response[name]; ok {
		return seconds
	}
	if m.shared && m.has("s-maxage") {
		return 0
	}
	if seconds, ok := m.request[name]; ok && name == "stale-if-error" {
		return seconds
	}
	return operator
}

func (m model) wantsFresh() bool {
	return (m.asks("max-age") || m.asks("min-fresh")) && !m.asks("max-stale")
}

func (m model) behind() bool {
	return !m.staleProhibited() && !m.asks("no-cache") && !m.wantsFresh() && !m.fresh() &&
		m.currentAge()-m.lifetime() < m.window("stale-while-revalidate", m.swr)
}

func (m model) onError() bool {
	if m.staleProhibited() || m.asks("no-cache") {
		return false
	}
	window := m.window("stale-if-error", m.sie)
	if seconds, ok := m.request["stale-if-error"]; ok {
		window = min(window, seconds)
	} else if m.wantsFresh() {
		window = 0
	}
	return m.fresh() || m.currentAge()-m.lifetime() < window
}

func (m model) use() policy.Use {
	switch {
	case m.satisfied():
		return policy.Fresh
	case m.behind():
		return policy.WhileRevalidate
	default:
		return policy.Validate
	}
}

func field(directives map[string]int) string {
	var members []string
	for name, seconds := range directives {
		if seconds >= 0 {
			name += "=" + strconv.Itoa(seconds)
		}
		members = append(members, name)
	}
	slices.Sort(members)
	return strings.Join(members, ", ")
}

// verdict asks the package.
func (m model) verdict() policy.Verdict {
	h := header("Cache-Control: "+field(m.response), "Date: "+at(-time.Duration(m.date)*time.Second))
	if m.age >= 0 {
		h.Set("Age", strconv.Itoa(m.age))
	}
	sent := noon.Add(-time.Duration(m.delay) * time.Second)
	terms := policy.Read(policy.Rules{Shared: m.shared}, http.MethodGet, nil, m.status, h, sent, noon)
	req := none
	if len(m.request) > 0 {
		req = policy.ReadRequest(header("Cache-Control: " + field(m.request)))
	}
	second := time.Second
	d := policy.Defaults{StaleWhileRevalidate: time.Duration(m.swr) * second, StaleIfError: time.Duration(m.sie) * second}
	return terms.Judge(req, d, noon, noon.Add(time.Duration(m.resident)*second))
}

// draw takes the next byte of the input as a small number, so that what is
// compared often comes out equal.
type draw struct{ data []byte }

func (d *draw) number() int {
	if len(d.data) == 0 {
		return 0
	}
	n := int(d.data[0]) % 16
	d.data = d.data[1:]
	return n
}

func (d *draw) directives(flags, numbers []string) map[string]int {
	drawn := map[string]int{}
	for _, name := range flags {
		if d.number()%4 == 1 {
			drawn[name] = -1
		}
	}
	for _, name := range numbers {
		if d.number()%2 == 1 {
			drawn[name] = d.number()
		}
	}
	return drawn
}

func newModel(data []byte) model {
	d := &draw{data}
	return model{
		shared: d.number()%2 == 1,
		response: d.directives(
			[]string{"no-cache", "must-revalidate", "proxy-revalidate", "immutable"},
			[]string{"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"}),
		request: d.directives([]string{"no-cache"}, []string{"max-age", "min-fresh", "max-stale", "stale-if-error"}),
		status:  []int{200, 404, 503}[d.number()%3],
		date:    d.number() - 8, age: d.number() - 8, delay: d.number() % 3,
		swr: d.number(), sie: d.number(), resident: d.number(),
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("some text that is long enough for all of the numbers that are drawn from it"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x01\x05\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00\x01\x02\x01\x00\x07"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newModel(data)
		got := m.verdict()
		require.Equal(t, m.use(), got.Use, "%+v", m)
		require.Equal(t, m.onError(), got.OnError, "%+v", m)
		require.Equal(t, time.Duration(m.currentAge())*time.Second, got.Age, "%+v", m)
		require.Equal(t, time.Duration(m.lifetime()-m.currentAge())*time.Second, got.TTL, "%+v", m)
	})
}

// The seeds of a fuzz target alone do not go far in an ordinary test.
func TestJudgeAsTheModelDoes(t *testing.T) {
	uses := map[string]int{}
	state := uint32(1)
	for range 30_000 {
		data := make([]byte, 40)
		for i := range data {
			state = state*1664525 + 1013904223
			data[i] = byte(state >> 24)
		}
		m := newModel(data)
		got := m.verdict()
		require.Equal(t, fmt.Sprint(m.use(), m.onError()), fmt.Sprint(got.Use, got.OnError), "%+v", m)
		uses[got.Use.String()]++
	}
	for _, use := range []policy.Use{policy.Fresh, policy.WhileRevalidate, policy.Validate} {
		require.Greater(t, uses[use.String()], 500, "the model is asked about all of them: %v", uses)
	}
}
