package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// test is one of the suite's.
type test struct {
	ID    string   `json:"id"`
	Kind  string   `json:"kind"`
	Needs []string `json:"needs"`
}

// The kinds of tests. Those that only check what a cache does, either being right,
// are counted but cannot fail.
const (
	required = "required"
	optimal  = "optimal"
	check    = "check"
)

// results are what the suite says of each test: true, or a reason with a text.
type results map[string]json.RawMessage

// passes is the suite's own rule: a test that passes says nothing unless what it needs
// passes as well.
func (r results) passes(tests map[string]test, id string) bool {
	t, known := tests[id]
	if !known || string(r[id]) != "true" {
		return false
	}
	return !slices.ContainsFunc(t.Needs, func(need string) bool { return !r.passes(tests, need) })
}

// why says what stands against a test that does not pass.
func (r results) why(tests map[string]test, id string) string {
	raw, ran := r[id]
	if !ran {
		return "it did not run"
	}
	for _, need := range tests[id].Needs {
		if !r.passes(tests, need) {
			return need + " fails, without which it means nothing"
		}
	}
	var said []string
	if err := json.Unmarshal(raw, &said); err != nil || len(said) < 2 {
		return string(raw)
	}
	if said[0] == "Setup" {
		return "while it was set up: " + said[1]
	}
	return said[1]
}

// score counts the tests of a kind.
type score struct{ passed, all int }

func (s score) String() string { return fmt.Sprintf("%d/%d", s.passed, s.all) }

func (r results) score(tests map[string]test, kind string) score {
	var s score
	for id, t := range tests {
		if t.Kind != kind {
			continue
		}
		s.all++
		if r.passes(tests, id) {
			s.passed++
		}
	}
	return s
}

// failing returns the ids of the tests that fail, sorted by kind and id.
func (r results) failing(tests map[string]test) []string {
	var ids []string
	for id, t := range tests {
		if t.Kind != check && !r.passes(tests, id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(-cmp.Compare(tests[a].Kind, tests[b].Kind), cmp.Compare(a, b))
	})
	return ids
}
