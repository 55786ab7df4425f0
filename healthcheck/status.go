package healthcheck

// Status is how a check, a group of checks or all of them are.
type Status uint8

// The statuses. Unknown is what a check is before its first result, and what it
// becomes when its last one is too old to say anything.
const (
	Unknown Status = iota
	Pass
	Warn
	Fail
)

// String returns the status as RFC drafts write it.
func (s Status) String() string { return name(s, "unknown", "pass", "warn", "fail") }

// MarshalText makes a Status readable in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// badness orders statuses: an unknown one is better than a failed one, and no
// better than a warning.
func (s Status) badness() int {
	switch s {
	case Pass:
		return 0
	case Warn:
		return 1
	case Unknown:
		return 2
	default:
		return 3
	}
}

// worst returns the worse of two statuses.
func worst(a, b Status) Status {
	if a.badness() >= b.badness() {
		return a
	}
	return b
}

// Impact is what the failure of a check means for the groups that it is in.
type Impact uint8

// The impacts.
const (
	Degrades      Impact = iota // a failure is a warning: the service goes on with less
	Critical                    // a failure fails the group
	Informational               // a failure is shown, and that is all
)

// String returns the impact's name.
func (i Impact) String() string { return name(i, "degrades", "critical", "informational") }

// MarshalText makes an Impact readable in JSON.
func (i Impact) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// The groups that every Checker has. Others are those that its checks name.
const (
	Live    = "live"    // is the process worth keeping? Never ask others for that
	Ready   = "ready"   // should it get requests?
	Startup = "startup" // has it come up? Once it has, for good
)

// Result is what a probe has found.
type Result struct {
	// Status is the finding. Zero, Unknown, means Pass, or Fail where there is an
	// Err.
	Status Status

	// Err says what is wrong. It is for those who are authorized to see details:
	// it may name hosts and users.
	Err error

	// Public says what is wrong to those who may see details, in the place of an
	// error that Config.ShowErrors does not show.
	Public string

	// Observed is what was measured: a number, a string, a bool or a time.Duration.
	// Of others only the type is shown. Unit is what it is counted in.
	Observed any
	Unit     string
}

// complete fills in what follows from the rest.
func (r Result) complete() Result {
	switch {
	case r.Status == Unknown && r.Err == nil:
		r.Status = Pass
	case r.Status == Unknown || r.Status > Fail:
		r.Status = Fail
	}
	return r
}

// name returns the word for an enumerated value.
func name[T ~uint8](value T, words ...string) string {
	if int(value) < len(words) {
		return words[value]
	}
	return "unknown"
}
