package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program makes this test binary the program that a test starts: one that listens on
// a port, one that ends at once, or one that ignores being told to end.
const program = "CONFORMANCE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if do, port, _ := strings.Cut(os.Getenv(program), " "); do != "" {
		os.Exit(play(do, port))
	}
	os.Exit(m.Run())
}

func suiteOf(tests ...test) map[string]test {
	byID := make(map[string]test)
	for _, t := range tests {
		byID[t.ID] = t
	}
	return byID
}

func said(t *testing.T, text string) results {
	t.Helper()
	var r results
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	return r
}

func TestWhatNeedsAFailureFails(t *testing.T) {
	tests := suiteOf(
		test{ID: "basic", Kind: required},
		test{ID: "finer", Kind: optimal, Needs: []string{"basic"}},
		test{ID: "finest", Kind: optimal, Needs: []string{"finer"}},
		test{ID: "curious", Kind: check},
		test{ID: "skipped", Kind: required},
		test{ID: "unready", Kind: required},
	)
	r := said(t, `{"basic": ["Assertion", "it is not so"], "finer": true, "finest": true, "curious": ["Assertion", "no"],
		"unready": ["Setup", "nothing came"]}`)
	assert.Equal(t, []string{"basic", "skipped", "unready", "finer", "finest"}, r.failing(tests))
	assert.Equal(t, score{0, 3}, r.score(tests, required))
	assert.Equal(t, score{0, 2}, r.score(tests, optimal))
	assert.Equal(t, score{0, 1}, r.score(tests, check))
	assert.Equal(t, "it is not so", r.why(tests, "basic"))
	assert.Equal(t, "finer fails, without which it means nothing", r.why(tests, "finest"))
	assert.Equal(t, "it did not run", r.why(tests, "skipped"))
	assert.Equal(t, "while it was set up: nothing came", r.why(tests, "unready"))

	r["basic"] = json.RawMessage("true")
	assert.Equal(t, []string{"skipped", "unready"}, r.failing(tests))
	assert.Equal(t, "2/2", r.score(tests, optimal).String())
}

const samplePage = `# A page

<!-- table: scores -->
| configuration | what      | required | optimal | check |
|---------------|-----------|---------:|--------:|------:|
| ` + "`one`" + `         | the first | 1/2      | 1/1     | 7/9   |
| ` + "`two`" + `         | another   | 2/2      | 0/1     | 7/9   |
<!-- end -->

<!-- table: failures -->
| test | kind | one | two | why |
|------|------|:---:|:---:|-----|
| ` + "`a`" + ` | required | ✗ |   | It cannot be. |
| ` + "`c`" + ` | optimal  |   | ✗ | By choice. |
<!-- end -->
`

func sampleTests() map[string]test {
	return suiteOf(test{ID: "a", Kind: required}, test{ID: "b", Kind: required}, test{ID: "c", Kind: optimal})
}

func TestThePageAndTheSuite(t *testing.T) {
	p, err := readPage(samplePage)
	require.NoError(t, err)
	for _, row := range []struct {
		name, column, results string
		differ                []string
	}{
		{name: "as listed", column: "one", results: `{"a": ["Assertion", "x"], "b": true, "c": true}`},
		{name: "as listed, elsewhere", column: "two", results: `{"a": true, "b": true, "c": ["Assertion", "x"]}`},
		{
			name: "a new failure", column: "one", results: `{"a": ["Assertion", "x"], "b": ["Assertion", "y"], "c": true}`,
			differ: []string{"b (required) fails and is not listed: y"},
		},
		{
			name: "what is listed for another", column: "one", results: `{"a": ["Assertion", "x"], "b": true, "c": ["Assertion", "z"]}`,
			differ: []string{"c (optimal) fails and is not listed: z"},
		},
		{
			name: "a listed one passes", column: "one", results: `{"a": true, "b": true, "c": true}`,
			differ: []string{"a passes and is listed as failing"},
		},
		{
			name: "unknown", column: "three", results: `{}`,
			differ: []string{"the page has no column for three"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.differ, p.differences(row.column, sampleTests(), said(t, row.results)))
		})
	}
	t.Run("another suite", func(t *testing.T) {
		tests := suiteOf(test{ID: "b", Kind: required}, test{ID: "c", Kind: check})
		assert.Equal(t, []string{
			"a is listed, and there is no such test", "c is listed as optimal and is check",
			"required: the page's own list leaves a score of 1/1", "optimal: the page's own list leaves a score of 0/0",
		}, p.differences("one", tests, said(t, `{"b": true, "c": true}`)))
	})
}

func TestBadPages(t *testing.T) {
	for name, row := range map[string]struct{ from, to, says string }{
		"no scores":         {"table: scores", "table: points", `no table "scores"`},
		"no failures":       {"table: failures", "table: sorrows", `no table "failures"`},
		"no end":            {"By choice. |\n<!-- end -->", "By choice. |\n", `no table "failures"`},
		"a score in words":  {"1/2 ", "half", `"half" among the scores`},
		"no kind":           {"required | ✗", "mandatory | ✗", "no kind"},
		"a check fails":     {"required | ✗", "check | ✗", "no kind"},
		"no reason":         {"It cannot be.", "", "a has no reason"},
		"another mark":      {"✗ |   |", "x |   |", `"x" where`},
		"fails nowhere":     {"✗ |   |", "  |   |", "a fails nowhere"},
		"twice":             {"| `c` | optimal ", "| `a` | optimal ", "a is listed twice"},
		"a cell too many":   {"✗ |   |", "✗ |   |  |", "6 cells instead of 5"},
		"no configurations": {"| test | kind | one | two | why |", "| test | kind | why |", "no configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(samplePage, row.from, row.to, 1)
			require.NotEqual(t, samplePage, text)
			_, err := readPage(text)
			assert.ErrorContains(t, err, row.says)
		})
	}
}

func TestOurPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/conformance.md")
	require.NoError(t, err)
	p, err := readPage(string(text))
	require.NoError(t, err)
	for _, c := range configurations() {
		assert.Contains(t, p.columns, c.name)
		assert.Len(t, p.scores[c.name], 2, c.name)
	}
	assert.Len(t, p.columns, len(configurations()), "a column that nothing fills")
	assert.Contains(t, string(text), suiteName+" "+suiteVersion)
}

// A machine that is too busy once is no finding.
func TestWhatDiffersTwiceCounts(t *testing.T) {
	assert.Equal(t, []string{"b fails after 4 s"},
		both([]string{"a fails", "b fails after 3 s"}, []string{"b fails after 4 s", "c fails"}))
}

func TestReport(t *testing.T) {
	good := outcome{name: "one", tests: sampleTests(), results: said(t, `{"a": ["Assertion", "x"], "b": true, "c": true}`), runs: 1}
	var out bytes.Buffer
	require.NoError(t, report(&out, []outcome{good}, true))
	assert.Contains(t, out.String(), "one            1/2       1/1      0/0    1\n")
	assert.Contains(t, out.String(), "required  a: x")
	bad := good
	bad.differs = []string{"b is odd"}
	assert.ErrorIs(t, report(&out, []outcome{good, bad}, false), errDiffers)
	assert.Contains(t, out.String(), "b is odd")
	once := good
	once.first = []string{"c was odd"}
	require.NoError(t, report(&out, []outcome{once}, false))
	assert.Contains(t, out.String(), "c was odd")
}

func TestChoose(t *testing.T) {
	for _, opts := range []options{{only: "nobody", parallel: 1}, {id: "a", parallel: 1}, {parallel: 0}} {
		_, err := choose(opts)
		assert.Error(t, err, "%+v", opts)
	}
	all, err := choose(options{parallel: 1})
	require.NoError(t, err)
	assert.Equal(t, configurations(), all)
	one, err := choose(options{only: "private", parallel: 1})
	require.NoError(t, err)
	assert.Equal(t, configurations()[3:], one)
}

// play is what this binary does as another program.
func play(do, port string) int {
	switch do {
	case "listen":
		return listenUntilTold(port)
	case "fail":
		os.Stderr.WriteString("no luck")
		return 3
	case "say":
		os.Stdout.WriteString("so it is")
		return 0
	default:
		return 9
	}
}

func playing(t *testing.T, do string, port int) (env []string, name string) {
	t.Helper()
	return []string{program + "=" + do + " " + strconv.Itoa(port)}, os.Args[0]
}

func TestAProcessEnds(t *testing.T) {
	port, _, err := freePorts(t.Context())
	require.NoError(t, err)
	env, name := playing(t, "listen", port)
	p, err := listening(t.Context(), port, "", env, name)
	require.NoError(t, err)
	text, err := p.end()
	require.NoError(t, err)
	assert.Equal(t, "listening", string(text))
	<-p.done
	_, err = listening(t.Context(), port, "", []string{program + "=fail"}, name)
	assert.ErrorContains(t, err, "ended before its time")
	assert.ErrorContains(t, err, "no luck")
}

func TestAProcessEndsWithItsContext(t *testing.T) {
	port, _, err := freePorts(t.Context())
	require.NoError(t, err)
	env, name := playing(t, "listen", port)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := listening(ctx, port, "", env, name)
	require.NoError(t, err)
	cancel()
	select {
	case <-p.done:
	case <-time.After(2 * grace):
		t.Fatal("it goes on")
	}
}

func TestCommand(t *testing.T) {
	text, err := command(t.Context(), "", []string{program + "=say"}, os.Args[0])
	require.NoError(t, err)
	assert.Equal(t, "so it is", string(text))
	_, err = command(t.Context(), "", []string{program + "=fail"}, os.Args[0])
	assert.ErrorContains(t, err, "no luck")
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok)
	assert.Equal(t, 3, exit.ExitCode())
	_, err = command(t.Context(), "", nil, "no such program of this name")
	assert.Error(t, err)
}

func listenUntilTold(port string) int {
	// All before it listens: from then on it may be told.
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	os.Stdout.WriteString("listening")
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 1
	}
	defer listener.Close()
	select {
	case <-told:
		return 0
	case <-time.After(time.Minute):
		return 2
	}
}
