package bench_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var docs = flag.String("docs", "", "the document whose tables are to be replaced")

// table is printed by go test -v, and takes the place of the table of its name
// in the document. The first row is the head.
type table struct {
	name string
	rows [][]string
}

func (tab *table) row(cells ...string) { tab.rows = append(tab.rows, cells) }

// publish runs only after the assertions, so that a figure in the document is
// one that passed.
func (tab *table) publish(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(t.Output(), "\n"+tab.markdown())
	require.NoError(t, err)
	if *docs != "" && !t.Failed() {
		require.NoError(t, tab.replaceIn(*docs))
	}
}

// markdown pads the cells, for those who read it as text.
func (tab *table) markdown() string {
	widths := make([]int, len(tab.rows[0]))
	for _, row := range tab.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for n, row := range tab.rows {
		for i, cell := range row {
			text.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		text.WriteString("|\n")
		if n == 0 {
			for i, width := range widths {
				text.WriteString("|" + strings.Repeat("-", width+1) + map[bool]string{true: "-", false: ":"}[i == 0])
			}
			text.WriteString("|\n")
		}
	}
	return text.String()
}

func (tab *table) replaceIn(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	place := regexp.MustCompile(`(?s)(<!-- table: ` + regexp.QuoteMeta(tab.name) + ` -->\n).*?(<!-- end -->)`)
	if !place.Match(text) {
		return fmt.Errorf("%s has no place for the table %q", path, tab.name)
	}
	text = place.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(tab.markdown(), "$", "$$")+"${2}"))
	return os.WriteFile(path, text, 0o600)
}

// costs makes a table of what was measured. Allocations beyond those of the
// first row are what a contender adds.
func costs(name string, ops []op, measured []cost) *table {
	tab := &table{name: name}
	tab.row("", "ns/op", "ratio", "B/op", "allocs", "extra")
	for i, c := range measured {
		tab.row(ops[i].name, fixed(c.nanos, 0), fixed(c.ratio, 2), fixed(c.bytes, 0),
			fixed(c.allocs, 0), fmt.Sprintf("%+.0f", c.allocs-measured[0].allocs))
	}
	return tab
}

func fixed(value float64, digits int) string { return strconv.FormatFloat(value, 'f', digits, 64) }

// TestMachine says where the other tables come from.
func TestMachine(t *testing.T) {
	tab := &table{name: "machine"}
	tab.row("CPU", "cores", "Go", "rounds")
	tab.row(cpu(), strconv.Itoa(runtime.GOMAXPROCS(0)),
		runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH, strconv.Itoa(*rounds))
	tab.publish(t)
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // Elsewhere than on Linux the architecture has to do.
	match := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text)
	if match == nil {
		return runtime.GOARCH
	}
	return string(match[1])
}
