package policy

import "time"

// Defaults are the operator's windows, for responses that name none. What is
// not above 0 is none.
type Defaults struct {
	StaleWhileRevalidate, StaleIfError time.Duration
}

// Use is what to do with a stored response.
type Use uint8

// The uses.
const (
	Fresh           Use = iota // Answer with it.
	WhileRevalidate            // Answer with it, and refresh it behind.
	Validate                   // Ask the origin first.
)

// String is for tests and logs.
func (u Use) String() string {
	switch u {
	case Fresh:
		return "fresh"
	case WhileRevalidate:
		return "while-revalidate"
	case Validate:
		return "validate"
	default:
		return "unknown"
	}
}

// Verdict is what a stored response is good for at a moment, for a request.
type Verdict struct {
	Use     Use
	Age     time.Duration // The current age, RFC 9111, 4.2.3.
	TTL     time.Duration // What is left of the lifetime, negative when stale, as in RFC 9211.
	OnError bool          // It may answer if the origin fails, or is slow.
}

// Judge says what the response that was received then is good for now. It can be
// asked about every hit: it allocates nothing.
func (t *Terms) Judge(req Request, d Defaults, received, now time.Time) Verdict {
	age := t.AgeAt(received, now)
	v := Verdict{Use: Validate, Age: age, TTL: t.Lifetime - age}
	if t.NoCache || req.NoCache {
		return v
	}
	if t.suits(req, age, v.TTL) {
		v.Use = Fresh
	}
	if t.MustRevalidate || t.Status >= 500 {
		return v
	}
	swr, sie := t.windows(req, d)
	v.OnError = age < t.Lifetime+sie
	if v.Use == Validate && v.TTL <= 0 && age < t.Lifetime+swr {
		v.Use = WhileRevalidate
	}
	return v
}

// AgeAt is the current age. A clock that went back makes nothing younger than it
// was when it came.
func (t *Terms) AgeAt(received, now time.Time) time.Duration {
	return t.Age + min(max(now.Sub(received), 0), longest)
}

// suits says whether the request is content with the response as it is.
func (t *Terms) suits(req Request, age, ttl time.Duration) bool {
	if ttl <= 0 {
		return t.suitsStale(req, age, -ttl)
	}
	if t.Immutable && req.MinFresh == Absent {
		return true // RFC 8246: a reload, max-age=0, has nothing new to learn while it is fresh.
	}
	return (req.MaxAge == Absent || age <= req.MaxAge) && (req.MinFresh == Absent || ttl >= req.MinFresh)
}

func (t *Terms) suitsStale(req Request, age, late time.Duration) bool {
	if req.MaxStale == Absent || late > req.MaxStale || t.MustRevalidate || t.ExplicitOnly || t.Status >= 500 {
		return false
	}
	return (req.MaxAge == Absent || age <= req.MaxAge) && req.MinFresh == Absent
}

// windows returns for how long after its lifetime the response may be used while
// it is being refreshed, and if that fails. The response's word goes first, for
// errors then the request's, which can also shorten the response's, and the
// operator's last.
//
// A request with max-age or min-fresh, and without max-stale, wants no stale
// answer (RFC 9111, 5.2.1.1): the window for errors is then only what it names
// itself.
func (t *Terms) windows(req Request, d Defaults) (swr, sie time.Duration) {
	swr, sie = t.StaleWhileRevalidate, t.StaleIfError
	if t.ExplicitOnly {
		d = Defaults{}
	} else if sie == Absent && req.StaleIfError != Absent {
		sie = req.StaleIfError
	}
	if swr == Absent {
		swr = d.StaleWhileRevalidate
	}
	if sie == Absent {
		sie = d.StaleIfError
	}
	wantsFresh := (req.MaxAge != Absent || req.MinFresh != Absent) && req.MaxStale == Absent
	if wantsFresh {
		swr = 0
	}
	if req.StaleIfError != Absent {
		sie = min(sie, req.StaleIfError)
	} else if wantsFresh {
		sie = 0
	}
	return limit(swr), limit(sie)
}

func limit(d time.Duration) time.Duration { return min(max(d, 0), longest) }

// Keep is for how long after its receipt the response can be of use to anybody:
// fresh, in one of its windows, or for an hour more as the one that a validator
// stands for, which costs the origin no body. It is 0 for what is of no use, and
// a year at most.
func (t *Terms) Keep(d Defaults) time.Duration {
	const (
		revalidation = time.Hour
		most         = 366 * 24 * time.Hour
	)
	var late time.Duration
	if !t.NoCache && !t.MustRevalidate && t.Status < 500 {
		swr, sie := t.windows(ReadRequest(nil), d)
		late = max(swr, sie)
	}
	keep := max(t.Lifetime+late-t.Age, 0)
	if t.Validator {
		keep += revalidation
	}
	return min(keep, most)
}
