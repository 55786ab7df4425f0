package rttest

import "net/http"

// ClauseNames returns the names of the clauses of Client.
func ClauseNames() []string {
	var names []string
	for _, clause := range clientClauses() {
		names = append(names, clause.name)
	}
	return names
}

// RunClause runs a single clause of Client.
func RunClause(tb TB, name string, wrap func(http.RoundTripper) http.RoundTripper, facts ...Fact) {
	tb.Helper()
	for _, clause := range clientClauses() {
		if clause.name == name {
			clause.run(tb, newPolicy(wrap, facts))
			return
		}
	}
	tb.Fatalf("no clause is named %q", name)
}

// RunRefusal runs the clause of Refusal.
func RunRefusal(tb TB, wrap func(http.RoundTripper) http.RoundTripper) {
	tb.Helper()
	Bubble(tb, func(tb TB) { refusalLeavesNothing(tb, newPolicy(wrap, nil)) })
}
