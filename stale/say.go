package stale

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/failsoft/failsoft/internal/outcome"
)

// sayEntry adds what a client may know of an entry that answers: its age, and in
// Cache-Status (RFC 9211) why it does.
func (x *call) sayEntry(header http.Header, r *reply) {
	s := r.derived.stampAt(x.c.cfg.Name, r.verdict.Age, r.verdict.TTL)
	header["Age"] = s.header
	before := header["Cache-Status"]
	if r.reason == Fresh && len(before) == 0 && !x.c.cfg.ShowKey {
		header["Cache-Status"] = s.status
		return
	}
	status := x.c.cfg.Name
	if r.fwd == "" {
		status += "; hit"
	} else {
		status += "; fwd=" + r.fwd + fwdStatus(r)
	}
	status += "; ttl=" + strconv.FormatInt(s.ttl, 10)
	if r.reason != Fresh && r.reason != Renewed {
		status += "; detail=" + strings.ReplaceAll(r.reason.String(), " ", "-")
	}
	header["Cache-Status"] = append(slices.Clip(before), status+x.shownKey())
}

// fwdStatus is what came back where an entry answers nevertheless.
func fwdStatus(r *reply) string {
	switch {
	case r.reason == Renewed:
		return "; fwd-status=304"
	case r.came != 0:
		return "; fwd-status=" + strconv.Itoa(r.came)
	default:
		return ""
	}
}

// sayFlight adds why a request was forwarded, and whether alone.
func (x *call) sayFlight(header http.Header, r *reply) {
	status := x.c.cfg.Name + "; fwd=" + r.fwd
	if r.flight.res.fate == landed && !r.flight.answer.Degraded() {
		status += "; stored"
	}
	if !r.leads {
		status += "; collapsed"
	}
	header["Cache-Status"] = append(slices.Clip(header["Cache-Status"]), status+x.shownKey())
	x.tellMiss(r.flight.res.status, r.fwd)
}

// tellMiss tells that the origin's answer goes to the client.
func (x *call) tellMiss(status int, fwd string) {
	x.c.tell(x.req.Context(), Event{Kind: Miss, Key: x.key, Status: status, Detail: fwd})
}

// sayPassed adds why a request was passed on to the origin.
func (x *call) sayPassed(status int, header http.Header) {
	x.say(header)
	x.tellMiss(status, x.fwd())
}

// say adds why nothing that is stored answers.
func (x *call) say(header http.Header) {
	header["Cache-Status"] = append(slices.Clip(header["Cache-Status"]), x.c.cfg.Name+"; fwd="+x.fwd()+x.shownKey())
}

// shownKey is the key, for those who want it shown.
func (x *call) shownKey() string {
	if !x.c.cfg.ShowKey || x.key == "" {
		return ""
	}
	var text strings.Builder
	text.WriteString(`; key="`)
	for _, b := range []byte(x.key) {
		if b < 0x20 || b > 0x7e {
			b = '?'
		}
		if b == '"' || b == '\\' {
			text.WriteByte('\\')
		}
		text.WriteByte(b)
	}
	text.WriteByte('"')
	return text.String()
}

// reasonOf names why a stale entry answers for a flight that has failed.
func reasonOf(res *landing) Reason {
	switch res.kind {
	case outcome.Timeout:
		return TimedOut
	case outcome.Refused:
		return Refused
	default:
		return Failed
	}
}
