package outcome_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/memnet"
	"github.com/failsoft/failsoft/internal/outcome"
)

// The Timeout methods of url.Error and net.OpError ask the error right below them only.
func TestIsTimeoutLooksBelowErrorsThatDoNotKnow(t *testing.T) {
	for name, err := range map[string]error{
		"of http.Client":    &url.Error{Op: "Get", Err: wrapped(context.DeadlineExceeded)},
		"of a file":         &url.Error{Op: "Get", Err: wrapped(os.ErrDeadlineExceeded)},
		"of a socket":       opError("read", wrapped(os.ErrDeadlineExceeded)),
		"beside another no": errors.Join(timeoutError{is: false}, context.DeadlineExceeded),
	} {
		assert.True(t, outcome.IsTimeout(err), name)
		assert.Equal(t, outcome.Timeout, outcome.OfError(t.Context(), err), name)
	}
}

// hedged is the error of attempts that were made side by side.
type hedged struct{ refusal }

func (hedged) Unwrap() []error {
	return []error{opError("dial", syscall.ECONNREFUSED), syscall.ECONNRESET}
}

func TestErrorThatSaysItWasSentIsBelieved(t *testing.T) {
	assert.Equal(t, outcome.Broken, outcome.OfError(t.Context(), hedged{refusal{unsent: false}}))
}

// late is a context whose deadline has passed before its timer says so.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Unix(0, 0), true }

func TestDeadlineEndsItsCallerBeforeItsTimerDoes(t *testing.T) {
	assert.Equal(t, outcome.Timeout, outcome.OfError(late{t.Context()}, errors.New("net/http: request canceled")))
}

// http.Client.Timeout comes as a deadline and as Request.Cancel, which net/http reports as neither a
// timeout nor a context.Canceled.
func TestClosedCancelChannelAtTheDeadlineIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancel := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(cancel) })
		transport := memnet.Server(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}))
		ctx := late{t.Context()}
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://cart.test", http.NoBody)
		req.Cancel = cancel //nolint:staticcheck // http.Client closes it still
		resp, err := transport.RoundTrip(req)
		assert.Equal(t, outcome.Timeout, outcome.Of(ctx, resp, err), "%v", err)
	})
}
