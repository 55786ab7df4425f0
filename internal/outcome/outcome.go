// Package outcome states the facts about a finished call, in one vocabulary for
// every policy. It holds no decision: what a fact means (retry it, count it as
// a failure, open a circuit) is a small switch in each package, beside that
// package's docs.
//
// Everything here is a pure function, safe for concurrent use.
package outcome

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// Kind is what became of a call.
type Kind uint8

// The kinds of outcome.
const (
	OK          Kind = iota // an answer below 400
	ClientError             // 4xx but 429: the request is at fault, not the server
	Throttled               // 429
	ServerError             // 5xx
	Timeout                 // a deadline passed: the call's own, or one on the way
	Unsent                  // provably never reached the peer
	Broken                  // failed on the way; the peer may have seen it
	Canceled                // the caller gave up, which proves nothing about the peer
	Refused                 // one of our own policies refused it before it was sent
)

// String returns the kind's name.
func (k Kind) String() string {
	names := [...]string{
		"ok", "client error", "throttled", "server error", "timeout",
		"unsent", "broken", "canceled", "refused",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Of states what became of a call that was made under ctx and came back with
// resp or err. The caller's end is judged from ctx and never from err, because
// transports disagree on the error: HTTP/1 returns the context's cause, HTTP/2
// a plain context.Canceled.
func Of(ctx context.Context, resp *http.Response, err error) Kind {
	if err == nil && resp != nil {
		return OfStatus(resp.StatusCode)
	}
	return OfError(ctx, err)
}

// OfStatus states what an answer with this status is.
func OfStatus(status int) Kind {
	switch {
	case status < 400:
		return OK
	case status == http.StatusTooManyRequests:
		return Throttled
	case status < 500:
		return ClientError
	default:
		return ServerError
	}
}

// OfError states what became of a call under ctx that ended with err, which
// may be nil.
func OfError(ctx context.Context, err error) Kind {
	if err == nil {
		return OK
	}
	if ctx.Err() != nil {
		if IsTimeout(ctx.Err()) || IsTimeout(context.Cause(ctx)) {
			return Timeout
		}
		return Canceled
	}
	// The timer of a deadline may be late, and http.Client.Timeout ends a call by Request.Cancel as well,
	// whose error says nothing of time.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return Timeout
	}
	sent, told := tellsSent(err)
	switch {
	case told && !sent && hasHint(err):
		return Refused
	case told && !sent || !told && provesUnsent(err):
		return Unsent
	case IsTimeout(err):
		return Timeout
	default:
		return Broken
	}
}

// IsTimeout reports whether err says of itself that it is a timeout, or wraps a deadline that was
// exceeded. The second question is there because url.Error and net.OpError answer the first with no
// unless the very next error below them is the timeout.
func IsTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// tellsSent returns what err itself says of whether the peer can have seen the
// request, if it does. The outermost error that knows counts: a call of several
// attempts may end with one that was not sent after others that were.
func tellsSent(err error) (sent, told bool) {
	knows, ok := errors.AsType[interface {
		error
		Unsent() bool
	}](err)
	return ok && !knows.Unsent(), ok
}

// provesUnsent reports whether err proves that the peer never saw the request:
// the name was not resolved, the connection not made, the peer not trusted.
func provesUnsent(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

// hasHint reports whether err is of a kind that can say when to come back, as
// the refusals of all our policies are, even if this one does not know.
func hasHint(err error) bool {
	if knows, ok := errors.AsType[interface {
		error
		Refused() bool
	}](err); ok {
		return knows.Refused()
	}
	_, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	return ok
}

// Hint returns how long an error of one of our own policies asks to wait
// before the next attempt. A hint that is not positive is none.
func Hint(err error) (wait time.Duration, ok bool) {
	hinter, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok {
		return 0, false
	}
	wait = hinter.RetryAfter()
	return max(wait, 0), wait > 0
}
