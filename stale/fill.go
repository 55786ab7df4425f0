package stale

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/failsoft/failsoft/internal/rt"
)

// window is how far the origin may be ahead of the slowest reader where nothing is
// kept: enough to keep both busy.
const window = 64 << 10

// errUnread ends a fetch that nobody reads any more and that cannot be stored.
var errUnread = errors.New("stale: nobody reads the answer any more")

// fill is the body of an answer while it comes from the origin. As long as it is
// kept, it grows at the origin's speed and any number of readers follow it, each at
// its own. When it is too large to be kept, and from the start where it must not
// be stored, it is a pipe: the origin waits for the slowest reader.
type fill struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change; nil while nobody waits for one

	kept      bool
	buf       []byte
	base      int64 // where in the body buf begins
	flushes   int   // how often the origin wanted all to leave at once
	trailer   http.Header
	ended     bool
	err       error // why it ended, if not well
	abandoned bool  // nobody was left to read it

	readers map[*reader]struct{}
	unread  func() // called when the last reader has left before the end
	reserve *reservation
	most    int64 // bytes that are kept
}

// reservation bounds the bytes of all fills that are kept.
type reservation struct {
	mu        sync.Mutex
	all, left int64
}

func (r *reservation) take(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.left {
		return false
	}
	r.left -= n
	return true
}

func (r *reservation) giveBack(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
}

func (r *reservation) taken() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all - r.left
}

// newFill returns a fill that keeps what it gets, up to most. A length that is
// known is reserved, and had, at once.
func newFill(reserve *reservation, most, length int64) *fill {
	f := &fill{kept: true, reserve: reserve, most: most, readers: make(map[*reader]struct{})}
	if length > most || !f.grow(max(length, 0)) {
		f.kept = false
	}
	return f
}

// newPipe returns a fill that keeps nothing.
func newPipe() *fill { return &fill{readers: make(map[*reader]struct{})} }

// grow makes room for n more bytes of a body that is kept.
func (f *fill) grow(n int64) bool {
	need := int64(len(f.buf)) + n
	if need > f.most {
		return false
	}
	if need <= int64(cap(f.buf)) {
		return true
	}
	room := need
	if len(f.buf) > 0 { // the length is not known, or was a lie
		room = min(max(need, 2*int64(cap(f.buf)), 4<<10), f.most)
	}
	if !f.reserve.take(room - int64(cap(f.buf))) {
		return false
	}
	bigger := make([]byte, len(f.buf), room)
	copy(bigger, f.buf)
	f.buf = bigger // readers may still hold pieces of the old one
	return true
}

// write adds p, which it copies. In a pipe it waits until readers have taken what
// came before. It fails when nobody is left to write for.
func (f *fill) write(ctx context.Context, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended { // by a goroutine that the handler has left behind
		return errUnread
	}
	if f.kept && !f.grow(int64(len(p))) {
		f.release()
	}
	for len(p) > 0 {
		n := len(p)
		if !f.kept {
			if err := f.room(ctx); err != nil {
				return err
			}
			n = min(n, window)
		}
		f.buf = append(f.buf, p[:n]...)
		p = p[n:]
		f.wake()
	}
	return nil
}

// release turns a body that was kept into a pipe.
func (f *fill) release() {
	f.kept = false
	f.reserve.giveBack(int64(cap(f.buf)))
}

// room waits until the readers of a pipe have taken what is in it, and forgets it.
func (f *fill) room(ctx context.Context) error {
	for {
		if len(f.readers) == 0 {
			f.abandoned = true
			return errUnread
		}
		if f.slowest() == f.base+int64(len(f.buf)) {
			f.base += int64(len(f.buf))
			f.buf = f.buf[:0]
			if cap(f.buf) > 2*window { // it was kept until now
				f.buf = nil
			}
			return nil
		}
		if f.base+int64(len(f.buf))-f.slowest() < window && len(f.buf) < 2*window {
			return nil
		}
		if !f.wait(rt.Caller{Ctx: ctx}) {
			return context.Cause(ctx)
		}
	}
}

func (f *fill) slowest() int64 {
	least := f.base + int64(len(f.buf))
	for r := range f.readers {
		least = min(least, r.pos)
	}
	return least
}

// wait lets go of the lock until something has changed, and reports whether the
// caller is still there.
func (f *fill) wait(caller rt.Caller) bool {
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
		return true
	case <-caller.Ctx.Done():
	case <-caller.Cancel:
	}
	return false
}

func (f *fill) wake() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// flush notes that what was written so far is to leave at once.
func (f *fill) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes++
	f.wake()
}

// end ends the body, well if err is nil.
func (f *fill) end(err error, trailer http.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended, f.err, f.trailer = true, err, trailer
	f.wake()
	if f.kept {
		f.reserve.giveBack(int64(cap(f.buf)))
	}
}

// isEnded reports whether the body has ended.
func (f *fill) isEnded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

// whole returns what there is of the body, if all of it was kept.
func (f *fill) whole() (body []byte, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.kept {
		return nil, false
	}
	if spare := cap(f.buf) - len(f.buf); spare > len(f.buf)/16 {
		return append(make([]byte, 0, len(f.buf)), f.buf...), true
	}
	return slices.Clip(f.buf), true
}

// isTooLarge reports whether the body turned out to be more than is kept of any.
func (f *fill) isTooLarge() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.kept && f.base+int64(len(f.buf)) > f.most
}

// isAbandoned reports whether the origin was stopped, as nobody was left to read.
func (f *fill) isAbandoned() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.abandoned
}

// isRead reports whether anybody reads along.
func (f *fill) isRead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers) > 0
}
