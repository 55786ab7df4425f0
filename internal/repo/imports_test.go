package repo_test

import (
	"slices"
	"strconv"
	"strings"
)

const (
	otel    = "go.opentelemetry.io"
	testify = "github.com/stretchr/testify"
)

func importChecks() []check {
	return []check{
		{
			name: "no policy imports another",
			find: siblingImports,
			broken: map[string]string{
				"breaker/breaker.go":        importing(module + "/retry"),
				"hedge/hedge_test.go":       importing(module + "/telemetry"),
				"retry/retry.go":            importing(module+"/internal/rt", module+"/budget"),
				"stale/redisstore/store.go": importing(module+"/stale", module+"/route"),
				"telemetry/all.go":          importing(module+"/breaker", module+"/retry"),
			},
			want: []string{"breaker/breaker.go:2", "hedge/hedge_test.go:2", "stale/redisstore/store.go:3"},
		},
		{
			name: "what policies share knows none of them",
			find: upwardImports,
			broken: map[string]string{
				"budget/budget_test.go":        importing(module + "/hedge"),
				"internal/outcome/o.go":        importing(module + "/breaker"),
				"internal/rttest/nest_test.go": importing(module+"/breaker", module+"/retry"),
			},
			want: []string{"budget/budget_test.go:2", "internal/outcome/o.go:2"},
		},
		{
			name: "OpenTelemetry stays in telemetry",
			find: strayOpenTelemetry,
			broken: map[string]string{
				"examples/otel/main.go": importing(otel + "/otel/sdk"),
				"internal/outcome/o.go": importing(otel + "/otel"),
				"route/pool_test.go":    importing(otel + "/otel/trace"),
				"telemetry/retry.go":    importing(otel + "/otel/trace"),
			},
			want: []string{"internal/outcome/o.go:2", "route/pool_test.go:2"},
		},
		{
			name: "testify stays in tests",
			find: strayTestify,
			broken: map[string]string{
				"internal/rttest/client.go": importing(testify + "/assert"),
				"retry/do_test.go":          importing(testify + "/assert"),
			},
			want: []string{"internal/rttest/client.go:2"},
		},
	}
}

// importing is a file with one import a line, the first of them on the second.
func importing(names ...string) string {
	var file strings.Builder

	file.WriteString("package p\n")

	for _, name := range names {
		file.WriteString("import _ " + strconv.Quote(name) + "\n")
	}

	return file.String()
}

// siblingImports covers the tests of a policy too: a nest of several policies is tested at the root
// or in internal, where it belongs to none of them.
func siblingImports(t *tree) []string {
	return t.forbid(func(s source, name string) string {
		if !slices.Contains(policies(), s.top()) || within(name, module+"/"+s.top()) || !policyOrTelemetry(name) {
			return ""
		}

		return "policies share shapes and never import each other or telemetry"
	})
}

func upwardImports(t *tree) []string {
	return t.forbid(func(s source, name string) string {
		below := s.top() == "budget" || s.top() == "internal" && !s.isTest()
		if !below || !policyOrTelemetry(name) {
			return ""
		}

		return "budget and internal lie below the policies"
	})
}

func strayOpenTelemetry(t *tree) []string {
	return t.forbid(func(s source, name string) string {
		if !within(name, otel) || slices.Contains([]string{"telemetry", "examples", "bench"}, s.top()) {
			return ""
		}

		return "only telemetry/ turns events into OpenTelemetry"
	})
}

func strayTestify(t *tree) []string {
	return t.forbid(func(s source, name string) string {
		if !within(name, testify) || s.isTest() {
			return ""
		}

		return "testify is for _test.go files"
	})
}

// forbid asks why an import is wrong, for every import of every file; no reason means that it is not.
func (t *tree) forbid(why func(s source, name string) string) []string {
	var findings []string

	for _, s := range t.code {
		for _, spec := range s.ast.Imports {
			if reason := why(s, importPath(spec)); reason != "" {
				findings = append(findings, t.at(spec.Pos(), "import of %s: %s", importPath(spec), reason))
			}
		}
	}

	return findings
}

func policyOrTelemetry(name string) bool {
	rest, ours := strings.CutPrefix(name, module+"/")
	top, _, _ := strings.Cut(rest, "/")

	return ours && (top == "telemetry" || slices.Contains(policies(), top))
}
