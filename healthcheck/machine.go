package healthcheck

// machine is the state of a check: a status that it takes several results in a
// row to change.
type machine struct {
	status     Status
	streak     int    // results in a row that are all worse, or all better, than status
	toward     Status // of these, the one nearest to status
	fall, rise int
}

// take takes a result and reports whether the status has changed.
func (m *machine) take(found Status) (changed bool) {
	switch {
	case m.status == Unknown:
		m.set(found) // the first: nothing is known that it would have to outweigh
		return true
	case found == m.status:
		m.streak = 0
		return false
	}
	worse := found.badness() > m.status.badness()
	if m.streak == 0 || worse != (m.toward.badness() > m.status.badness()) {
		m.streak, m.toward = 0, found
	} else if nearer := found.badness() < m.toward.badness(); nearer == worse {
		m.toward = found
	}
	m.streak++
	needed := m.rise
	if worse {
		needed = m.fall
	}
	if m.streak < needed {
		return false
	}
	m.set(m.toward)
	return true
}

// force sets the status whatever the results so far were, and reports whether it
// has changed.
func (m *machine) force(to Status) (changed bool) {
	changed = m.status != to
	m.set(to)
	return changed
}

func (m *machine) set(to Status) { m.status, m.streak, m.toward = to, 0, to }
