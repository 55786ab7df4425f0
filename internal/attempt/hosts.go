package attempt

import (
	"slices"
	"sync"
)

// Hosts is the set of hosts that the attempts of one call went to, in the
// order in which each was last tried. It is safe for concurrent use, since
// hedged attempts share one; a nil *Hosts is an empty set that stays empty.
type Hosts struct {
	mu    sync.Mutex
	order []tried // least recently tried first; a call has few attempts, so a slice beats a map
	adds  int
}

type tried struct {
	host string
	at   int // adds, with this one
}

// Add says that an attempt goes, or went, to host. An empty host is nobody.
func (h *Hosts) Add(host string) {
	if h == nil || host == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(host, h.index(host))
}

// TryAdd is Add, unless host was added after adds was what Adds returned. So two
// attempts that look for a host at the same moment cannot both go to one that neither
// of them saw the other choose: for one of them it is false, and it looks again.
func (h *Hosts) TryAdd(host string, adds int) bool {
	if h == nil || host == "" {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.index(host)
	if at >= 0 && h.order[at].at > adds {
		return false
	}
	h.add(host, at)
	return true
}

// Adds returns how many times hosts were added: what the hosts are looked at by, for
// TryAdd.
func (h *Hosts) Adds() int {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.adds
}

// add needs the lock. at is where host is now, or -1.
func (h *Hosts) add(host string, at int) {
	if at >= 0 {
		h.order = slices.Delete(h.order, at, at+1)
	}
	h.adds++
	h.order = append(h.order, tried{host, h.adds})
}

// index needs the lock.
func (h *Hosts) index(host string) int {
	return slices.IndexFunc(h.order, func(t tried) bool { return t.host == host })
}

// Rank tells how recently host was tried: -1 if never, otherwise its place
// among the tried hosts, 0 being the one tried longest ago.
func (h *Hosts) Rank(host string) int {
	if h == nil {
		return -1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.index(host)
}
