package outcome_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/outcome"
)

// timeoutError is what a retry cancels its attempts with.
type timeoutError struct{ is bool }

func (timeoutError) Error() string   { return "no answer for 1s" }
func (e timeoutError) Timeout() bool { return e.is }

// refusal is what a policy of ours refuses a call with.
type refusal struct {
	unsent bool
	wait   time.Duration
}

func (refusal) Error() string               { return "refused" }
func (e refusal) Unsent() bool              { return e.unsent }
func (e refusal) RetryAfter() time.Duration { return e.wait }

func wrapped(err error) error { return fmt.Errorf("load the cart: %w", err) }

func opError(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

func canceledFor(t *testing.T, cause error) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	return ctx
}

func expired(t *testing.T, cause error) context.Context {
	t.Helper()
	ctx, cancel := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), cause)
	t.Cleanup(cancel)
	return ctx
}

func TestErrorUnderALiveContextIsJudgedByItself(t *testing.T) {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	reset := os.NewSyscallError("read", syscall.ECONNRESET)
	untrusted := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	cases := map[string]struct {
		err  error
		want outcome.Kind
	}{
		"none":                               {nil, outcome.OK},
		"refusal":                            {refusal{unsent: true}, outcome.Refused},
		"refusal, wrapped":                   {wrapped(refusal{unsent: true}), outcome.Refused},
		"refusal, joined":                    {errors.Join(io.EOF, refusal{unsent: true}), outcome.Refused},
		"refusal that was sent after all":    {refusal{unsent: false}, outcome.Broken},
		"no such host":                       {&net.DNSError{IsNotFound: true}, outcome.Unsent},
		"name server timed out":              {&net.DNSError{IsTimeout: true}, outcome.Unsent},
		"no such host, as dialed":            {opError("dial", &net.DNSError{}), outcome.Unsent},
		"connection refused":                 {opError("dial", refused), outcome.Unsent},
		"connection refused, wrapped":        {wrapped(opError("dial", refused)), outcome.Unsent},
		"connection refused, by http.Client": {&url.Error{Op: "Get", Err: opError("dial", refused)}, outcome.Unsent},
		"dial timed out":                     {opError("dial", os.ErrDeadlineExceeded), outcome.Unsent},
		"proxy unreachable":                  {opError("proxyconnect", refused), outcome.Unsent},
		"untrusted certificate":              {untrusted, outcome.Unsent},
		"untrusted certificate, wrapped":     {wrapped(untrusted), outcome.Unsent},
		"alert from the peer":                {opError("remote error", tls.AlertError(42)), outcome.Broken},
		"read timed out":                     {opError("read", os.ErrDeadlineExceeded), outcome.Timeout},
		"deadline of somebody else":          {context.DeadlineExceeded, outcome.Timeout},
		"deadline of somebody else, wrapped": {wrapped(context.DeadlineExceeded), outcome.Timeout},
		"own timeout":                        {timeoutError{is: true}, outcome.Timeout},
		"says that it is no timeout":         {timeoutError{is: false}, outcome.Broken},
		"cut off":                            {io.ErrUnexpectedEOF, outcome.Broken},
		"closed before the answer":           {io.EOF, outcome.Broken},
		"reset":                              {opError("read", reset), outcome.Broken},
		"broken pipe":                        {opError("write", syscall.EPIPE), outcome.Broken},
		"canceled by somebody below":         {context.Canceled, outcome.Broken},
		"anything":                           {errors.New("anything"), outcome.Broken},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, outcome.OfError(t.Context(), c.err))
			assert.Equal(t, c.want, outcome.Of(t.Context(), nil, c.err))
		})
	}
}

func TestCallersEndIsJudgedByItsContext(t *testing.T) {
	causes := map[string]struct {
		ctx  context.Context
		want outcome.Kind
	}{
		"gave up":                          {canceledFor(t, nil), outcome.Canceled},
		"gave up for a reason":             {canceledFor(t, errors.New("tab closed")), outcome.Canceled},
		"cause that is no timeout":         {canceledFor(t, timeoutError{is: false}), outcome.Canceled},
		"cause that is a timeout":          {canceledFor(t, timeoutError{is: true}), outcome.Timeout},
		"cause that wraps a timeout":       {canceledFor(t, wrapped(timeoutError{is: true})), outcome.Timeout},
		"deadline":                         {expired(t, nil), outcome.Timeout},
		"deadline with a cause of its own": {expired(t, errors.New("too slow")), outcome.Timeout},
	}
	// The last two tell something else than the context does, and must not be believed.
	errs := map[string]error{
		"HTTP/2":   context.Canceled,
		"HTTP/1":   timeoutError{is: true},
		"deadline": context.DeadlineExceeded,
		"reset":    syscall.ECONNRESET,
		"dialing":  opError("dial", context.Canceled),
	}
	for name, c := range causes {
		for transport, err := range errs {
			t.Run(name+"/"+transport, func(t *testing.T) {
				assert.Equal(t, c.want, outcome.Of(c.ctx, nil, err))
			})
		}
	}
}

func TestAnswerCountsThoughItsCallerHasLeft(t *testing.T) {
	assert.Equal(t, outcome.OK, outcome.Of(canceledFor(t, nil), &http.Response{StatusCode: 200}, nil))
	assert.Equal(t, outcome.ServerError, outcome.Of(expired(t, nil), &http.Response{StatusCode: 503}, nil))
	assert.Equal(t, outcome.OK, outcome.OfError(canceledFor(t, nil), nil))
}

// A transport that breaks the contract and returns both: the error is what its caller acts on.
func TestErrorOutweighsAnAnswerBesideIt(t *testing.T) {
	assert.Equal(t, outcome.Broken, outcome.Of(t.Context(), &http.Response{StatusCode: 200}, io.EOF))
}

func TestDeadlineOfTheCallerEndsItInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, outcome.Broken, outcome.OfError(ctx, io.EOF))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, outcome.Timeout, outcome.OfError(ctx, io.EOF))
	})
}

func TestStatus(t *testing.T) {
	special := map[int]outcome.Kind{http.StatusTooManyRequests: outcome.Throttled}
	for status := range 1000 {
		want, ok := special[status]
		switch {
		case ok:
		case status >= 500:
			want = outcome.ServerError
		case status >= 400:
			want = outcome.ClientError
		default:
			want = outcome.OK
		}
		assert.Equal(t, want, outcome.OfStatus(status), status)
		assert.Equal(t, want, outcome.Of(t.Context(), &http.Response{StatusCode: status}, nil), status)
	}
}

func TestEveryKindHasANameOfItsOwn(t *testing.T) {
	names := map[string]outcome.Kind{}
	for kind := outcome.OK; kind <= outcome.Refused; kind++ {
		name := kind.String()
		assert.NotEqual(t, "unknown", name)
		assert.Equal(t, strings.ToLower(name), name)
		assert.NotContains(t, names, name)
		names[name] = kind
	}
	assert.Equal(t, outcome.OK, names["ok"])
	assert.Equal(t, outcome.Throttled, names["throttled"])
	assert.Equal(t, outcome.Refused, names["refused"])
	for kind := outcome.Refused + 1; kind != 0; kind++ { // up to 255 and around
		assert.Equal(t, "unknown", kind.String())
	}
}

func TestIsTimeout(t *testing.T) {
	for name, err := range map[string]error{
		"deadline":            context.DeadlineExceeded,
		"deadline of a file":  os.ErrDeadlineExceeded,
		"wrapped":             wrapped(os.ErrDeadlineExceeded),
		"of a socket":         opError("read", os.ErrDeadlineExceeded),
		"of the kernel":       syscall.ETIMEDOUT,
		"of http.Client":      &url.Error{Op: "Get", Err: context.DeadlineExceeded},
		"joined with another": errors.Join(io.EOF, context.DeadlineExceeded),
	} {
		assert.True(t, outcome.IsTimeout(err), name)
	}
	for name, err := range map[string]error{
		"nothing":      nil,
		"cancellation": context.Canceled,
		"end":          io.EOF,
		"reset":        opError("read", syscall.ECONNRESET),
		"says no":      timeoutError{is: false},
		"outermost no": &url.Error{Op: "Get", Err: io.EOF},
	} {
		assert.False(t, outcome.IsTimeout(err), name)
	}
}

func TestHint(t *testing.T) {
	cases := map[string]struct {
		err  error
		wait time.Duration
		ok   bool
	}{
		"none":         {nil, 0, false},
		"no refusal":   {io.EOF, 0, false},
		"two seconds":  {refusal{wait: 2 * time.Second}, 2 * time.Second, true},
		"one tick":     {refusal{wait: 1}, 1, true},
		"wrapped":      {wrapped(refusal{wait: time.Second}), time.Second, true},
		"zero":         {refusal{}, 0, false},
		"negative":     {refusal{wait: -time.Second}, 0, false},
		"negative max": {refusal{wait: -1 << 63}, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			wait, ok := outcome.Hint(c.err)
			assert.Equal(t, c.wait, wait)
			assert.Equal(t, c.ok, ok)
		})
	}
}

func TestGoodAnswersAreJudgedWithoutAllocating(t *testing.T) {
	ctx, resp := t.Context(), &http.Response{StatusCode: http.StatusOK}
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = outcome.Of(ctx, resp, nil) }))
}
