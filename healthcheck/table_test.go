package healthcheck_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// docTable is a table of the package's documentation, by row and column.
type docTable map[string]map[string]string

// readTable reads the table of doc.go whose heading begins with this word.
func readTable(t *testing.T, begins string) docTable {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	lines := strings.Split(string(doc), "\n")
	heading := slices.IndexFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "//\t"+begins) && strings.Contains(line, "|")
	})
	require.GreaterOrEqual(t, heading, 0, "doc.go has no table %q", begins)
	heads := cellsOf(lines[heading])
	table := make(docTable)
	for _, line := range lines[heading+1:] {
		if !strings.HasPrefix(line, "//\t") {
			break
		}
		cells := cellsOf(line)
		require.Len(t, cells, len(heads), line)
		row := make(map[string]string)
		for i, head := range heads {
			row[head] = cells[i]
		}
		table[cells[0]] = row
	}
	return table
}

// cellsOf returns what stands between the bars of a line.
func cellsOf(line string) []string {
	cells := strings.Split(strings.TrimPrefix(line, "//"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// cell returns what stands in a table, which must be something.
func (table docTable) cell(t *testing.T, row, column string) string {
	t.Helper()
	text := table[row][column]
	require.NotEmpty(t, text, "the table of doc.go says nothing of %s in column %q", row, column)
	return text
}

// column is a group, and where its codes stand.
type column struct{ group, head string }

func columns() []column {
	return []column{
		{healthcheck.Live, "Live"},
		{healthcheck.Ready, "Ready, your own"},
		{"own", "Ready, your own"},
		{healthcheck.Startup, "Startup"},
	}
}

// inStatus returns a check that comes to a status, and stays.
func inStatus(s healthcheck.Status, impact healthcheck.Impact) healthcheck.Check {
	return healthcheck.Check{
		Probe: func(ctx context.Context) healthcheck.Result {
			if s == healthcheck.Unknown {
				<-ctx.Done()
			}
			return healthcheck.Result{Status: s}
		},
		Impact: impact, Groups: []string{healthcheck.Live, healthcheck.Ready, "own", healthcheck.Startup},
		Timeout: time.Hour, Period: time.Hour,
	}
}

// Every cell of the tables of doc.go is what happens.
func TestTablesOfTheDocumentation(t *testing.T) {
	weights, codes := readTable(t, "check "), readTable(t, "group ")
	for _, s := range []healthcheck.Status{healthcheck.Pass, healthcheck.Warn, healthcheck.Fail, healthcheck.Unknown} {
		for impact, head := range map[healthcheck.Impact]string{
			healthcheck.Critical: "Critical", healthcheck.Degrades: "Degrades (default)", healthcheck.Informational: "Informational",
		} {
			bubble(t, fmt.Sprintf("a check that is %v and %v", s, impact), func(t *testing.T) {
				c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: inStatus(s, impact)})
				of := weights.cell(t, s.String(), head)
				toStartup := of
				if s == healthcheck.Unknown && impact != healthcheck.Informational {
					toStartup = s.String() // as the text below the tables says
				}
				synctest.Wait() // for the first result
				before := assertCodes(t, c, of, toStartup, codes)
				assertRequire(t, c, codes.cell(t, s.String(), "Require"))
				assertLatch(t, c, codes.cell(t, toStartup, "Startup"))

				c.Drain()
				for _, column := range columns() {
					want := before[column.group]
					if text := codes.cell(t, "draining", column.head); text != "as is" {
						want = codeIn(t, text)
					}
					assert.Equal(t, want, ask(t, c.Handler(column.group), "/").Code, "draining: %s", column.group)
				}
				require.Equal(t, "as is", codes.cell(t, "draining", "Require"))
				assertRequire(t, c, codes.cell(t, s.String(), "Require"))
			})
		}
	}
}

// assertCodes asserts what endpoints answer where the worst of a group is this, and
// returns it.
func assertCodes(t *testing.T, c *healthcheck.Checker, of, toStartup string, codes docTable) (got map[string]int) {
	t.Helper()
	got = make(map[string]int)
	for _, column := range columns() {
		row := of
		if column.group == healthcheck.Startup {
			row = toStartup
		}
		w := ask(t, c.Handler(column.group), "/")
		got[column.group] = w.Code
		assert.Equal(t, codeIn(t, codes.cell(t, row, column.head)), w.Code, column.group)
		if column.group != healthcheck.Live && column.group != healthcheck.Startup {
			assert.Equal(t, of, c.Status(column.group).String(), column.group)
		}
	}
	return got
}

// codeIn returns the code that a cell begins with.
func codeIn(t *testing.T, cell string) int {
	t.Helper()
	code, err := strconv.Atoi(cell[:min(3, len(cell))])
	require.NoError(t, err, cell)
	return code
}

func assertRequire(t *testing.T, c *healthcheck.Checker, cell string) {
	t.Helper()
	want := map[string]int{"serves": http.StatusTeapot, "refuses (a check)": http.StatusServiceUnavailable}[cell]
	require.NotZero(t, want, cell)
	teapot := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	assert.Equal(t, want, ask(t, c.Require(name)(teapot), "/orders").Code)
}

// assertLatch asserts that a service that has come up has come up for good.
func assertLatch(t *testing.T, c *healthcheck.Checker, cell string) {
	t.Helper()
	if !strings.HasSuffix(cell, ", and from then on") {
		return
	}
	before := c.Snapshot().Checks[0].Result
	require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Fail}))
	assert.Equal(t, codeIn(t, cell), ask(t, c.Handler(healthcheck.Startup), "/").Code)
	if before.Status != healthcheck.Unknown {
		require.NoError(t, c.Report(name, before))
	} else {
		require.NoError(t, c.Report(name, healthcheck.Result{Status: healthcheck.Warn}))
	}
}

// What a hand says of a group is what the table says of its status, until the
// service drains.
func TestCodesOfGroupsSetByHand(t *testing.T) {
	codes := readTable(t, "group ")
	for _, s := range []healthcheck.Status{healthcheck.Pass, healthcheck.Warn, healthcheck.Fail} {
		for _, column := range columns() {
			bubble(t, fmt.Sprintf("%s %v", column.group, s), func(t *testing.T) {
				c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{
					name: inStatus(healthcheck.Unknown, healthcheck.Critical),
				})
				require.NoError(t, c.Override(column.group, healthcheck.Override{Status: s}))
				want := codeIn(t, codes.cell(t, s.String(), column.head))
				assert.Equal(t, want, ask(t, c.Handler(column.group), "/").Code)

				c.Drain()
				if text := codes.cell(t, "draining", column.head); text != "as is" {
					want = codeIn(t, text)
				}
				assert.Equal(t, want, ask(t, c.Handler(column.group), "/").Code, "draining")
			})
		}
	}
}

// A check that nobody probes and nobody has fed yet counts for nothing.
func TestUnfedChecksCountForNothing(t *testing.T) {
	bubble(t, "in every group", func(t *testing.T) {
		check := inStatus(healthcheck.Unknown, healthcheck.Critical)
		check.Probe = nil
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: check})
		for _, column := range columns() {
			assert.Equal(t, 200, ask(t, c.Handler(column.group), "/").Code, column.group)
		}
	})
}
