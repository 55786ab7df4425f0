package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// capacity is what a stream holds before writes block: the usual size of a socket buffer.
const capacity = 64 << 10

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	changed *sync.Cond // On mu; waiting for it is durable blocking, unlike waiting for a socket.

	buf       []byte
	finished  bool // The writer is done: what is left can be read, then EOF.
	abandoned bool // The reader is gone: writes fail.

	readLimit  *deadline
	writeLimit *deadline
}

// deadline is replaced whenever a new one is set, so that a timer that could not be stopped any
// more marks a value that nobody looks at.
type deadline struct {
	passed bool
	timer  *time.Timer
}

func newStream() *stream {
	s := &stream{readLimit: &deadline{}, writeLimit: &deadline{}}
	s.changed = sync.NewCond(&s.mu)

	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for {
		switch {
		case s.abandoned:
			return 0, net.ErrClosed
		case s.readLimit.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			s.changed.Broadcast()

			return n, nil
		case s.finished:
			return 0, io.EOF
		}

		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	written := 0

	for {
		switch {
		case s.finished:
			return written, net.ErrClosed
		case s.abandoned:
			return written, syscall.EPIPE
		case s.writeLimit.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		}

		room := min(capacity-len(s.buf), len(p)-written)
		if room == 0 {
			s.changed.Wait()

			continue
		}

		s.buf = append(s.buf, p[written:written+room]...)
		written += room
		s.changed.Broadcast()
	}
}

// finish is the writer's end of the stream.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.finished = true
	s.writeLimit.stop()
	s.changed.Broadcast()
}

// abandon is the reader's end of the stream.
func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.abandoned = true
	s.readLimit.stop()
	s.changed.Broadcast()
}

func (s *stream) limitReads(at time.Time) error  { return s.limit(&s.readLimit, &s.abandoned, at) }
func (s *stream) limitWrites(at time.Time) error { return s.limit(&s.writeLimit, &s.finished, at) }

func (s *stream) limit(slot **deadline, closed *bool, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if *closed {
		return net.ErrClosed
	}

	(*slot).stop()

	d := &deadline{}
	*slot = d

	left := time.Until(at)

	switch {
	case at.IsZero():
	case left <= 0:
		d.passed = true
	default:
		d.timer = time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()

			d.passed = true

			s.changed.Broadcast()
		})
	}

	s.changed.Broadcast()

	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
