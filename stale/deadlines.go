package stale

import (
	"net/http"
	"sync"
	"time"
)

// deadlines are what a handler in a flight has set of a connection that it does not
// have. Those who write its answer to their clients set them there.
type deadlines struct {
	mu          sync.Mutex
	changes     int
	read, write *time.Time // nil: as the server has it
}

func (d *deadlines) set(change func(*deadlines)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes++
	change(d)
}

// apply sets the deadlines if they have changed since they were seen, and returns
// what to ask with the next time. Connections without deadlines do without.
func (d *deadlines) apply(to *http.ResponseController, seen int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes == seen {
		return seen
	}
	if d.read != nil {
		_ = to.SetReadDeadline(*d.read)
	}
	if d.write != nil {
		_ = to.SetWriteDeadline(*d.write)
	}
	return d.changes
}
