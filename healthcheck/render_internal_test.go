package healthcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTemplates(t *testing.T) {
	for pattern, want := range map[string]string{
		"/":                                "/",
		"/{$}":                             "/",
		"GET /":                            "/",
		"GET /orders/{id}":                 "/orders/{id}",
		"GET  \t /orders/{id}":             "/orders/{id}",
		"/orders/{id}/lines/{line}":        "/orders/{id}/lines/{line}",
		"DELETE /orders/{id}/{$}":          "/orders/{id}/",
		"/files/{path...}":                 "/files/{+path}",
		"/{_}/{a1}/{rest...}":              "/{_}/{a1}/{+rest}",
		"shop.example/orders/{id}":         "shop.example/orders/{id}",
		"PUT shop.example/files/{path...}": "shop.example/files/{+path}",
		"shop.example/{$}":                 "shop.example/",
		"PURGE shop.example:8080/a{b}/{$}": "", // no pattern: a wildcard is a whole segment
		"/orders/{id":                      "",
		"/a/{$}/b":                         "",
		"/a/{path...}/b":                   "",
	} {
		if want == "" {
			assert.Error(t, checkPattern(pattern), pattern)
			continue
		}
		assert.NoError(t, checkPattern(pattern), pattern)
		assert.Equal(t, want, template(pattern), pattern)
	}
	assert.NotNil(t, templates(nil))
}

// uriTemplate is the grammar of RFC 6570 without modifiers.
var uriTemplate = regexp.MustCompile(
	"^(?:[!#$&-;=?-\\[\\]_a-z~]|[^\\x00-\\x7f]|%[0-9A-Fa-f]{2}|" +
		`\{[+#./;?&]?(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+\})*$`)

// What http.ServeMux takes for a pattern, a client can take for a URI template.
func FuzzTemplate(f *testing.F) {
	for _, pattern := range []string{
		"/", "/{$}", "GET /orders/{id}", "/files/{path...}", "shop.example/{a}/{b...}", "PUT example.com/a%20b/{c}",
	} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		if checkPattern(pattern) != nil {
			t.Skip()
		}
		got := template(pattern)
		assert.Regexp(t, uriTemplate, got, "%q", pattern)
		_, path, _ := strings.Cut(got, "/")
		assert.NotContains(t, path, "...}", "%q", pattern)
		assert.NotContains(t, path, "{$}", "%q", pattern)
		assert.Equal(t, strings.Count(strings.ReplaceAll(pattern, "{$}", ""), "{"), strings.Count(got, "{"), "%q", pattern)
	})
}

// ServeMux is more generous with what stands in a pattern than URIs are.
func TestTemplatesOfStrangePatterns(t *testing.T) {
	for _, pattern := range []string{
		"/{größe}",             // a Go identifier, and no name that RFC 6570 knows
		"GET /a b",             // a space
		`GET /"hello"`,         // quotes
		"/a|b", "/<a>/x", "/}", // and the like
		"/a%20b", // which is well as it is
		"/café",  // and so is this
	} {
		require.NoError(t, checkPattern(pattern), pattern)
		assert.Regexp(t, uriTemplate, template(pattern), pattern)
	}
}

// one returns a group with one check, that has taken a result.
func one(name string, def Check, res Result) (*group, *check) {
	c := MustNew(Config{Authorize: func(*http.Request) bool { return true }, ShowErrors: true})
	c.started.Store(true)
	_ = def.complete() // the names may be bad
	k := newCheck(c, name, def)
	g := c.groups[full]
	g.join(k)
	k.take(res.complete(), c.now(), inLine)
	return g, k
}

// pageOf renders the details, and asserts that they are one JSON object.
func pageOf(t *testing.T, g *group) (object map[string]json.RawMessage) {
	t.Helper()
	var p *page
	require.NotPanics(t, func() { p = g.render(viewDetails, g.c.now()) })
	require.True(t, json.Valid(p.body), "%s", p.body)
	d := json.NewDecoder(bytes.NewReader(p.body))
	require.NoError(t, d.Decode(&object))
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF)
	assert.Contains(t, []string{`"pass"`, `"warn"`, `"fail"`}, string(object["status"]))
	return object
}

// FuzzRender: whatever a service has to say, the page is JSON, and the text has a
// line for each check.
func FuzzRender(f *testing.F) {
	f.Add("db", "lag", "ms", "down", 1.5, uint8(0), uint8(1))
	f.Add("a\"b", "\xff\xfe", "\x00", "\u2028", math.NaN(), uint8(1), uint8(2))
	f.Add("", "<script>", "%", "{{}}", math.Inf(1), uint8(2), uint8(3))
	for kind := range uint8(16) {
		f.Add("db", "x\ny", "\n", "a\nb", -1e308, kind, kind%4)
	}
	f.Fuzz(func(t *testing.T, name, observed, unit, output string, number float64, kind, status uint8) {
		res := Result{
			Status: Status(status % 4), Err: errors.New(output), Observed: value(kind, observed, number), Unit: unit,
		}
		g, _ := one(name, Check{Component: unit, Affects: []string{output}}, res)
		page := pageOf(t, g)
		var checks map[string][]struct {
			ObservedUnit string `json:"observedUnit"`
		}
		require.NoError(t, json.Unmarshal(page["checks"], &checks))
		require.Len(t, checks, 1)
		for _, all := range checks {
			require.Len(t, all, 1)
			assert.Equal(t, strings.ToValidUTF8(unit, "\ufffd") == "", all[0].ObservedUnit == "")
		}

		g.c.cfg.ShowErrors = false
		g.override = held{Override{Status: Warn, Reason: output}, math.MaxInt64}
		pageOf(t, g)
	})
}

// value makes an observed value of some kind.
func value(kind uint8, text string, number float64) any {
	values := []any{
		nil, text, number, math.NaN(), math.Inf(-1), complex(number, 1), make(chan int), func() {}, []byte(text),
		map[string]any{text: number},
		map[bool]int{true: 1},
		[]any{make(chan int)},
		json.RawMessage(text),
		json.Number(text),
		broken{text},
		struct{ A, b any }{number, text},
		time.Duration(int64(max(-1e18, min(1e18, number)))), &text, errors.New(text), (*broken)(nil),
	}
	return values[int(kind)%len(values)]
}

// broken does not marshal, and says it with words that may be anything: who would
// ask it.
type broken struct{ text string }

func (b broken) MarshalJSON() ([]byte, error) { return []byte(b.text), errors.New(b.text) }

// panics does not even return.
type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no JSON") }
func (panics) String() string               { panic("no text") }

// ring is a value that holds itself.
type ring struct{ Next *ring }

func TestValuesThatAreShown(t *testing.T) {
	for want, observed := range map[string]any{
		`true`: true, `"a\\b"`: `a\b`, `-1`: -1, `-8`: int8(-8), `-16`: int16(-16), `-32`: int32(-32),
		`-9223372036854775808`: int64(math.MinInt64), `2`: uint(2), `8`: uint8(8), `16`: uint16(16), `32`: uint32(32),
		`18446744073709551615`: uint64(math.MaxUint64), `1.5`: 1.5, `0.25`: float32(0.25), `0`: 0, `""`: "", `false`: false,
		`"1.5s"`: 1500 * time.Millisecond, `"NaN"`: math.NaN(), `"+Inf"`: math.Inf(1), `"-Inf"`: float32(math.Inf(-1)),
	} {
		g, _ := one("db", Check{}, Result{Observed: observed})
		assert.Equal(t, want, string(valuesOf(t, g)["db"]), "%T", observed)
	}
}

// valuesOf renders the details and returns the observed values.
func valuesOf(t *testing.T, g *group) map[string]json.RawMessage {
	t.Helper()
	var checks map[string][]struct {
		ObservedValue json.RawMessage `json:"observedValue"`
	}
	require.NoError(t, json.Unmarshal(pageOf(t, g)["checks"], &checks))
	values := make(map[string]json.RawMessage)
	for name, all := range checks {
		require.Len(t, all, 1)
		values[name] = all[0].ObservedValue
	}
	return values
}

// Of all others the type is shown, and none of their code runs.
func TestValuesThatCannotBeShown(t *testing.T) {
	around := &ring{}
	around.Next = around
	for want, observed := range map[string]any{
		"a chan int":                  make(chan int),
		"a func()":                    func() {},
		"a complex128":                1i,
		"a uintptr":                   uintptr(1),
		"a []uint8":                   []byte("x"),
		"a map[bool]int":              map[bool]int{true: 1},
		"a json.RawMessage":           json.RawMessage("{"),
		"a healthcheck.broken":        broken{"\xff"},
		"a healthcheck.panics":        panics{},
		"a *healthcheck.ring":         around,
		"a *healthcheck.broken":       (*broken)(nil),
		"a []interface {}":            []any{1, map[string]any{"a": make(chan int)}},
		"a *errors.errorString":       errors.New("x"),
		"a struct { N interface {} }": struct{ N any }{panics{}},
	} {
		t.Run(want, func(t *testing.T) {
			g, k := one("db", Check{}, Result{Observed: observed, Unit: "ms"})
			second := newCheck(g.c, "fine", k.Check)
			g.join(second)
			second.take(Result{Status: Pass, Observed: 42}, g.c.now(), inLine)
			values := valuesOf(t, g)
			require.Len(t, values, 2, "one that cannot be shown takes nothing from the others")
			assert.JSONEq(t, "42", string(values["fine"]))
			assert.JSONEq(t, strconv.Quote(want), string(values["db"]))
			assert.NotPanics(t, func() {
				assert.Contains(t, string(g.render(viewLines, g.c.now()).body), "db pass "+want+"ms\n")
			})
		})
	}
}

// A value that panics must not end the endpoint: the balancer would take it for
// down.
func TestEndpointSurvivesItsValues(t *testing.T) {
	c := MustNew(Config{Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, c.Add("db", Check{}))
	require.NoError(t, c.Start())
	t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) })
	require.NoError(t, c.Report("db", Result{Observed: panics{}}))
	assert.NotPanics(t, func() {
		w := httptest.NewRecorder()
		c.Handler(Ready).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		assert.Equal(t, 200, w.Code)
		assert.True(t, json.Valid(w.Body.Bytes()), w.Body)
	})
}

func TestPagesOfNothing(t *testing.T) {
	c := MustNew(Config{})
	for kind, want := range []string{
		viewText: "unknown\n", viewJSON: `{"status":"fail"}` + "\n",
		viewDetails: `{"status":"fail"}` + "\n", viewLines: "unknown\n",
	} {
		assert.Equal(t, want, string(c.groups[Ready].render(kind, c.now()).body), fmt.Sprint(kind))
	}
}
