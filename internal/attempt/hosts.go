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
	order []string // least recently tried first; a call has few attempts, so a slice beats a map
}

// Add says that an attempt goes, or went, to host. An empty host is nobody.
func (h *Hosts) Add(host string) {
	if h == nil || host == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := slices.Index(h.order, host); at >= 0 {
		h.order = slices.Delete(h.order, at, at+1)
	}
	h.order = append(h.order, host)
}

// Rank tells how recently host was tried: -1 if never, otherwise its place
// among the tried hosts, 0 being the one tried longest ago.
func (h *Hosts) Rank(host string) int {
	if h == nil {
		return -1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Index(h.order, host)
}
