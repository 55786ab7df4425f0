package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/failsoft/failsoft/backpressure"
)

// statusError is an answer that is none of success.
type statusError struct {
	status int
	after  time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("answered with %d", e.status) }

// RetryAfter is how long it asks to be left alone.
func (e *statusError) RetryAfter() time.Duration { return e.after }

// busy reports whether it is asked too much.
func (e *statusError) busy() bool {
	return e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests
}

// mends reports whether the same request may succeed another time.
func (e *statusError) mends() bool {
	return e.status >= http.StatusInternalServerError || e.busy() ||
		e.status == http.StatusRequestTimeout || e.status == http.StatusTooEarly
}

// judge tells the limiter which failures speak of load.
func judge(err error) backpressure.Outcome {
	if status, ok := errors.AsType[*statusError](err); ok && status.busy() {
		return backpressure.Overload
	}
	return backpressure.ByRule
}

// poster sends each message to a URL. The message's name goes with it, so that what is
// delivered twice need not be done twice.
func poster(url string) func(context.Context, jetstream.Msg) error {
	client := &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 1000, // as many as the limit may become
		IdleConnTimeout:     time.Minute,
	}}
	return func(ctx context.Context, msg jetstream.Msg) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(msg.Data()))
		if err != nil {
			return poison(err)
		}
		req.Header.Set("Idempotency-Key", name(msg))
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		return errors.Join(err, resp.Body.Close(), answered(resp))
	}
}

func answered(resp *http.Response) error {
	if resp.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 if there is none, or a date
	failure := &statusError{resp.StatusCode, time.Duration(min(seconds, 24*60*60)) * time.Second}
	if !failure.mends() {
		return poison(failure)
	}
	return failure
}
