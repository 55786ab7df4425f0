package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
)

const (
	maxFile   = 64 << 10
	maxReason = 1 << 10
	// farthest is the year 10000, where neither RFC 3339 nor JSON has a time.
	farthest = 253402300800
)

// entry is what a file says.
type entry struct {
	reason string
	since  time.Time // zero if it is not known
	until  time.Time // zero if it is down until it is taken up
}

// expired goes by the wall clock, since others go by it too.
func (e entry) expired(now time.Time) bool { return !e.until.IsZero() && now.After(e.until) }

// parse reads what a file holds. What it can make out it returns also when there is
// an error.
func parse(content []byte) (entry, error) {
	text := bytes.TrimSpace(content)
	if len(text) == 0 || text[0] != '{' {
		return entry{reason: clean(string(text))}, nil
	}
	// Into a map, because encoding/json takes Reason for reason where hacheck does
	// not, and because one bad field is not to hide the others.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return entry{reason: clean(string(text))}, fmt.Errorf("%w: %w", ErrContent, err)
	}
	var e entry
	var expiration, creation *float64
	err := errors.Join(
		field(fields, "reason", &e.reason),
		field(fields, "expiration", &expiration),
		field(fields, "creation", &creation),
	)
	e.reason = clean(e.reason)
	if expiration != nil && *expiration < farthest {
		e.until = fromUnix(*expiration)
	}
	// What is less than a microsecond is written as 0, which is not known.
	if creation != nil && *creation >= 1e-6 && *creation < farthest {
		e.since = fromUnix(*creation)
	}
	return e, err
}

func field[T any](fields map[string]json.RawMessage, name string, to *T) error {
	text, there := fields[name]
	if !there {
		return nil
	}
	var value T // on the side, because an error can leave half of one behind
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrContent, name, err)
	}
	*to = value
	return nil
}

// encode returns the file for an entry.
func (e entry) encode() ([]byte, error) {
	return json.Marshal(struct {
		Reason     string   `json:"reason"`
		Expiration *float64 `json:"expiration"`
		Creation   *float64 `json:"creation"`
	}{e.reason, toUnix(e.until), toUnix(e.since)})
}

// The times are in microseconds: a float of seconds holds no more of them. Seconds and
// microseconds are taken apart before they are scaled, or after 2106, where the two
// roundings together exceed half a microsecond, a time moved each time it was written.
func fromUnix(seconds float64) time.Time {
	whole, part := math.Modf(max(seconds, 0))
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3)
}

func toUnix(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	seconds := float64(t.Unix()) + float64(t.Nanosecond()/1e3)/1e6
	return &seconds
}

// clean makes a reason one line that can be shown on a terminal, whoever wrote it.
func clean(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(reason, "\uFFFD"))
	reason = strings.TrimSpace(reason)
	if len(reason) > maxReason {
		reason = strings.TrimSpace(strings.ToValidUTF8(reason[:maxReason], ""))
	}
	return reason
}
