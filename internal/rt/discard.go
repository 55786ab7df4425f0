package rt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// The bounds of draining. A drained connection is reused, and that is worth
// this much and no more: past it the connection is given up.
const (
	DrainBytes = 64 << 10
	DrainTime  = 50 * time.Millisecond
)

// Discard drains the response's body, at most DrainBytes, DrainTime and until
// ctx ends, and closes it.
func Discard(ctx context.Context, resp *http.Response) {
	if Readable(resp) {
		drain(ctx, resp, io.Discard)
	}
}

// ErrBodyDropped ends the body of a kept response of which more than the drain
// bounds was outstanding.
var ErrBodyDropped = errors.New("the rest of a discarded response's body was dropped")

// Keep discards the response like Discard but remembers what was read, so that
// the response can still be handed over if no better one comes: its connection
// is free, its body readable. Where the bounds cut it off, the body ends with
// ErrBodyDropped instead of io.EOF.
func Keep(ctx context.Context, resp *http.Response) {
	if !Readable(resp) {
		return
	}
	var kept bytes.Buffer
	end := ErrBodyDropped
	if drain(ctx, resp, &kept) {
		end = io.EOF
	}
	resp.Body = &keptBody{rest: kept.Bytes(), end: end}
}

// drain reads what is left of the body into w and closes it. It reports whether
// w has all of it.
//
// The bounds in time close the body under the blocked Read. Every body of
// net/http allows that, and unlike reading in a goroutine of its own it leaves
// nothing behind on the healthy path.
func drain(ctx context.Context, resp *http.Response, w io.Writer) (whole bool) {
	body := resp.Body
	defer func() { _ = body.Close() }() // what is discarded has no error to report
	if resp.ContentLength > DrainBytes {
		return false
	}
	abort := func() { _ = body.Close() }
	timer := time.AfterFunc(DrainTime, abort)
	defer timer.Stop()
	stop := context.AfterFunc(ctx, abort)
	defer stop()

	n, err := io.Copy(w, io.LimitReader(body, DrainBytes+1))
	return err == nil && n <= DrainBytes
}

// keptBody is what was read of a response before it was discarded.
type keptBody struct {
	rest []byte
	end  error
}

func (b *keptBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, b.end
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *keptBody) Close() error { return nil }
