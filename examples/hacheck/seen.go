package main

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// maxSeen bounds what callers can make it remember.
const maxSeen = 1000

// seen is which services were asked for, for /recent.
type seen struct {
	mu       sync.Mutex
	services map[string]sight
}

// sight is the latest answer that a service got.
type sight struct {
	Code     int     `json:"code"`
	RemoteIP string  `json:"remote_ip"` //nolint:tagliatelle // hacheck's name for it
	TS       float64 `json:"ts"`

	at time.Time
}

func newSeen() *seen { return &seen{services: make(map[string]sight)} }

// note remembers an answer, in the place of the oldest if there are too many.
func (s *seen) note(service string, what sight) {
	what.TS = unix(what.at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.services[service]; !there && len(s.services) >= maxSeen {
		oldest, first := "", time.Time{}
		for name, latest := range s.services {
			if oldest == "" || latest.at.Before(first) {
				oldest, first = name, latest.at
			}
		}
		delete(s.services, oldest)
	}
	s.services[service] = what
}

// since returns pairs of name and sight, by name, as hacheck lists them.
func (s *seen) since(when time.Time) [][2]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	pairs := make([][2]any, 0, len(s.services))
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		if latest := s.services[name]; latest.at.After(when) {
			pairs = append(pairs, [2]any{name, latest})
		}
	}
	return pairs
}
