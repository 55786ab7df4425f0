package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// page is what docs/conformance.md says, in the two tables that are marked there.
type page struct {
	columns []string           // the configurations that the failures are told for
	rows    map[string]listed  // by the id of the test
	scores  map[string][]score // by configuration: required, optimal
}

// listed is a test of which the page says that it fails, and where.
type listed struct {
	kind  string
	fails []bool // by column
}

// failMark stands in the cells of configurations that fail.
const failMark = "✗"

func readPage(text string) (page, error) {
	p := page{rows: make(map[string]listed), scores: make(map[string][]score)}
	scores, err := table(text, "scores")
	if err != nil {
		return p, err
	}
	for _, row := range scores[1:] {
		s, wrong := readScores(row)
		err = errors.Join(err, wrong)
		p.scores[unquote(row[0])] = s
	}
	failures, missing := table(text, "failures")
	if missing != nil {
		return p, errors.Join(err, missing)
	}
	head := failures[0]
	if len(head) < 4 {
		return p, errors.Join(err, errors.New("the table of failures has no configuration"))
	}
	p.columns = head[2 : len(head)-1]
	for _, row := range failures[1:] {
		err = errors.Join(err, p.add(row, len(head)))
	}
	return p, err
}

// table returns the cells of the table after a comment with its name, the head first.
// The line below the head, which only aligns, is left out.
func table(text, name string) ([][]string, error) {
	_, rest, found := strings.Cut(text, "<!-- table: "+name+" -->\n")
	body, _, ended := strings.Cut(rest, "<!-- end -->")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if !found || !ended || len(lines) < 2 {
		return nil, fmt.Errorf("the page has no table %q", name)
	}
	var rows [][]string
	for _, line := range slices.Delete(lines, 1, 2) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

func unquote(cell string) string { return strings.Trim(cell, "`") }

// readScores reads a configuration, what it is, and how many tests of the first two
// kinds pass. What follows is for readers.
func readScores(row []string) ([]score, error) {
	if len(row) < 4 {
		return nil, fmt.Errorf("the scores of %s are incomplete", row[0])
	}
	scores := make([]score, 2)
	for i := range scores {
		if _, err := fmt.Sscanf(row[2+i], "%d/%d", &scores[i].passed, &scores[i].all); err != nil {
			return nil, fmt.Errorf("%q among the scores of %s: %w", row[2+i], row[0], err)
		}
	}
	return scores, nil
}

// add reads a test, its kind, a cell for each configuration, and the reason.
func (p *page) add(row []string, width int) error {
	id := unquote(row[0])
	switch _, twice := p.rows[id]; {
	case twice:
		return fmt.Errorf("%s is listed twice", id)
	case len(row) != width:
		return fmt.Errorf("%s has %d cells instead of %d", id, len(row), width)
	case row[1] != required && row[1] != optimal:
		return fmt.Errorf("%s is %q, which is no kind of test that fails", id, row[1])
	case row[width-1] == "":
		return fmt.Errorf("%s has no reason", id)
	}
	t := listed{kind: row[1]}
	for _, cell := range row[2 : width-1] {
		if cell != "" && cell != failMark {
			return fmt.Errorf("%s has %q where %s or nothing belongs", id, cell, failMark)
		}
		t.fails = append(t.fails, cell == failMark)
	}
	if !slices.Contains(t.fails, true) {
		return fmt.Errorf("%s fails nowhere", id)
	}
	p.rows[id] = t
	return nil
}

// differences says in what the page and a configuration's results differ, in a
// sentence for each test, and for the scores.
func (p *page) differences(name string, tests map[string]test, r results) []string {
	column := slices.Index(p.columns, name)
	if column < 0 {
		return []string{"the page has no column for " + name}
	}
	var differ []string
	expected := func(id string) bool {
		row, known := p.rows[id]
		return known && row.fails[column]
	}
	for _, id := range r.failing(tests) {
		if !expected(id) {
			differ = append(differ,
				fmt.Sprintf("%s (%s) fails and is not listed: %s", id, tests[id].Kind, r.why(tests, id)))
		}
	}
	for id, row := range p.rows {
		t, known := tests[id]
		switch {
		case !known:
			differ = append(differ, id+" is listed, and there is no such test")
		case t.Kind != row.kind:
			differ = append(differ, fmt.Sprintf("%s is listed as %s and is %s", id, row.kind, t.Kind))
		case expected(id) && r.passes(tests, id):
			differ = append(differ, id+" passes and is listed as failing")
		}
	}
	slices.Sort(differ)
	return append(differ, p.wrongScores(name, tests)...)
}

// wrongScores compares the page with itself: its scores must be what its list of
// failures leaves.
func (p *page) wrongScores(name string, tests map[string]test) []string {
	column := slices.Index(p.columns, name)
	var wrong []string
	for i, kind := range []string{required, optimal} {
		var left score
		for id, t := range tests {
			if t.Kind != kind {
				continue
			}
			left.all++
			if row, known := p.rows[id]; !known || !row.fails[column] {
				left.passed++
			}
		}
		if written := p.scores[name]; len(written) <= i || written[i] != left {
			wrong = append(wrong, fmt.Sprintf("%s: the page's own list leaves a score of %v", kind, left))
		}
	}
	return wrong
}

// both returns what differed in two runs. It goes by the first word, which is the
// test: what a failure says may name a time.
func both(first, second []string) []string {
	known := make(map[string]bool)
	for _, line := range first {
		known[subject(line)] = true
	}
	return slices.DeleteFunc(slices.Clone(second), func(line string) bool { return !known[subject(line)] })
}

func subject(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}
