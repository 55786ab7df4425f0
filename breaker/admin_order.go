package breaker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The commands of Breaker.Admin.
const (
	orderIsolate     = "isolate"
	orderForceClosed = "force-closed"
	orderShadow      = "shadow"
	orderRelease     = "release"
	orderTrip        = "trip"
	orderReset       = "reset"
)

func orders() []string {
	return []string{orderIsolate, orderForceClosed, orderShadow, orderRelease, orderTrip, orderReset}
}

const (
	maxOrder  = 64 << 10
	maxReason = 1 << 10 // it is in the text of every refusal
)

// order is a command as it was sent. Key is a pointer because the empty key is
// one that exists, and one that was forgotten must not be taken for it.
type order struct {
	Key     *string `json:"key"`
	Command string  `json:"command"`
	Reason  string  `json:"reason"`
	TTL     string  `json:"ttl"`
}

var (
	errMediaType = errors.New("breaker: commands are application/x-www-form-urlencoded or application/json")
	errTooLarge  = errors.New("breaker: the command is larger than 64 KiB")
)

// statusOf is the status for what is wrong with a command.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnknownKey):
		return http.StatusNotFound
	case errors.Is(err, errMediaType):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusBadRequest
	}
}

// readBody reads the body into memory and leaves it there for Authorize, which
// may want to see what is asked, and must not use it up.
func readBody(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxOrder))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, bad("the command cannot be read: %w", err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// readOrder reads a command from a body. It is strict, since half of a command
// is another one: without its ttl, "isolate" is for ever.
func readOrder(req *http.Request, body []byte) (order, error) {
	switch bodyType(req) {
	case jsonType:
		return orderOfJSON(body)
	case "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return order{}, bad("the form cannot be read: %w", err)
		}
		if len(body) == 0 {
			values = req.PostForm // a middleware further out has read it
		}
		return orderOfForm(values)
	default:
		return order{}, errMediaType
	}
}

func orderOfJSON(body []byte) (o order, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return order{}, bad("the JSON cannot be read: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return order{}, bad("the JSON is followed by something else")
	}
	return o, nil
}

// orderOfForm ignores other fields: a page around this one may send its own.
func orderOfForm(values url.Values) (o order, err error) {
	for _, name := range []string{"key", "command", "reason", "ttl"} {
		if len(values[name]) > 1 {
			return order{}, bad("%s is given more than once", name)
		}
	}
	if values.Has("key") {
		key := values.Get("key")
		o.Key = &key
	}
	o.Command, o.Reason, o.TTL = values.Get("command"), values.Get("reason"), values.Get("ttl")
	return o, nil
}

// action returns what the command does, or everything that is wrong with it.
func (o order) action(b *Breaker) (func(c *circuit, now int64), error) {
	if o.Key == nil {
		return nil, bad("key is missing")
	}
	switch o.Command {
	case orderIsolate:
		if strings.TrimSpace(o.Reason) == "" {
			return nil, bad("%s needs a reason: others will wonder", o.Command)
		}
		return o.override(Isolated)
	case orderForceClosed:
		return o.override(ForceClosed)
	case orderShadow:
		return o.override(Shadow)
	case orderRelease:
		return o.override(Auto)
	case orderTrip:
		return b.trip, o.bare()
	case orderReset:
		return b.reset, o.bare()
	case "":
		return nil, bad("command is missing")
	default:
		return nil, bad("command %q is not one of %s", o.Command, strings.Join(orders(), ", "))
	}
}

func (o order) override(mode Mode) (func(c *circuit, now int64), error) {
	next := Override{Mode: mode, Reason: strings.TrimSpace(o.Reason)}
	if len(next.Reason) > maxReason {
		return nil, bad("reason has %d bytes, more than %d", len(next.Reason), maxReason)
	}
	if o.TTL != "" {
		ttl, err := time.ParseDuration(o.TTL)
		switch {
		case err != nil:
			return nil, bad("ttl %q is not a duration such as 90s, 15m or 2h", o.TTL)
		case ttl <= 0:
			return nil, bad("ttl %q is not positive; leave it out for an override without end", o.TTL)
		}
		next.TTL = ttl
	}
	if err := next.validate(); err != nil {
		return nil, err
	}
	return func(c *circuit, now int64) { c.set(next, now) }, nil
}

// bare reports what a command was given that it has no place for.
func (o order) bare() error {
	if o.Reason != "" || o.TTL != "" {
		return bad("%s takes no reason and no ttl", o.Command)
	}
	return nil
}
