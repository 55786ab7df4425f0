package healthcheck

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// statusOf reads a letter as a status, and letterOf writes it.
func statusOf(t *testing.T, letter byte) Status {
	t.Helper()
	i := strings.IndexByte("?pwf", letter)
	require.GreaterOrEqual(t, i, 0, "%q", letter)
	return Status(i)
}

func letterOf(s Status) string { return "?pwf"[s : s+1] }

func TestMachineTable(t *testing.T) {
	tests := []struct {
		name       string
		fall, rise int
		found      string // the results, and below them the status after each
		want       string
	}{
		{"the first result counts at once, a good one", 3, 2, "p", "p"},
		{"a bad one too", 3, 2, "f", "f"},
		{"and a warning", 3, 2, "w", "w"},
		{"it falls by Fall in a row", 3, 2, "pfff", "pppf"},
		{"a good one resets them", 3, 2, "pffpfff", "ppppppf"},
		{"it rises by Rise in a row", 3, 2, "fpp", "ffp"},
		{"a bad one resets them", 3, 2, "fpfpp", "ffffp"},
		{"it warns by Fall in a row", 3, 2, "pwww", "pppw"},
		{"and stops to by Rise", 3, 2, "wpp", "wwp"},
		{"from a warning to a failure by Fall", 3, 2, "wfff", "wwwf"},
		{"from a failure to a warning by Rise", 3, 2, "fww", "ffw"},
		{"down it counts what is worse, and goes to the best of it", 3, 2, "pfwf", "pppw"},
		{"up it counts what is better, and goes to the worst of it", 3, 2, "fpw", "ffw"},
		{"likewise in the other order", 3, 2, "fwp", "ffw"},
		{"a streak that turns begins anew", 3, 2, "wffpff", "wwwwww"},
		{"also with one to go, in the other direction", 3, 2, "wffpp", "wwwwp"},
		{"after a change nothing is left of the streak", 3, 2, "pfffpfpp", "pppffffp"},
		{"a step at a time: the streak of a step does not count for the next", 2, 2, "pfwff", "ppwwf"},
		{"one and one: no hysteresis", 1, 1, "pfwpfp", "pfwpfp"},
		{"flapping around it changes nothing", 3, 2, "pfpfpfffpfpfpfpp", "pppppppffffffffp"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := machine{fall: tt.fall, rise: tt.rise}
			var got strings.Builder
			before := m.status
			for i := range len(tt.found) {
				changed := m.take(statusOf(t, tt.found[i]))
				assert.Equal(t, before != m.status, changed, "what it reports of result %d", i)
				got.WriteString(letterOf(m.status))
				before = m.status
			}
			assert.Equal(t, tt.want, got.String(), "after %s", tt.found)
		})
	}
}

func TestMachineForce(t *testing.T) {
	m := machine{fall: 3, rise: 2}
	assert.True(t, m.force(Fail), "from unknown")
	assert.False(t, m.force(Fail), "again")
	assert.False(t, m.take(Pass))
	assert.False(t, m.force(Fail), "to what it is")
	assert.False(t, m.take(Pass), "one good result, as force has ended the streak")
	assert.True(t, m.take(Pass), "and the second in a row")
	assert.True(t, m.force(Warn))
	assert.Equal(t, Warn, m.status)
}

// history is the machine without any cleverness: it keeps all results since the
// status was set, and looks at the end of them.
type history struct {
	status     Status
	since      []Status
	fall, rise int
}

func (h *history) take(found Status) {
	if h.status == Unknown {
		h.status = found
		return
	}
	h.since = append(h.since, found)
	if to, ok := h.run(h.fall, func(s Status) bool { return s.badness() > h.status.badness() }, better); ok {
		h.status, h.since = to, nil
		return
	}
	if to, ok := h.run(h.rise, func(s Status) bool { return s.badness() < h.status.badness() }, worst); ok {
		h.status, h.since = to, nil
	}
}

// run reports whether the last n results are all of a kind, and which is the
// nearest to the status.
func (h *history) run(n int, of func(Status) bool, nearer func(a, b Status) Status) (to Status, ok bool) {
	if len(h.since) < n {
		return Unknown, false
	}
	tail := h.since[len(h.since)-n:]
	to = tail[0]
	for _, s := range tail {
		if !of(s) {
			return Unknown, false
		}
		to = nearer(to, s)
	}
	return to, true
}

func better(a, b Status) Status {
	if worst(a, b) == a {
		return b
	}
	return a
}

// FuzzMachine compares the machine with the naive one. The first two bytes are Fall
// and Rise, the others results.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{3, 2, 1, 3, 3, 3, 1, 1})
	f.Add([]byte{3, 2, 1, 3, 2, 3, 2, 1, 1})
	f.Add([]byte{1, 1, 1, 2, 3, 2, 1})
	f.Add([]byte{2, 5, 3, 1, 1, 2, 1, 1, 3, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 2 {
			return
		}
		fall, rise := 1+int(in[0])%6, 1+int(in[1])%6
		m, model := machine{fall: fall, rise: rise}, history{fall: fall, rise: rise}
		for i, b := range in[2:min(len(in), 10_000)] { // a megabyte takes seconds
			found := Pass + Status(b%3)
			before := m.status
			changed := m.take(found)
			model.take(found)
			require.Equal(t, letterOf(model.status), letterOf(m.status), "after result %d", i)
			require.Equal(t, before != m.status, changed)
			require.Less(t, m.streak, max(fall, rise), "a streak that is long enough changes the status")
		}
	})
}
