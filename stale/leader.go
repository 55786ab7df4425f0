package stale

import (
	"context"
	"time"

	"github.com/failsoft/failsoft/internal/rt"
)

// waiting reports whether the leader still waits, or reads.
func (fl *flight) waiting() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.waits
}

// attach ties the flight, which is of use to its leader only, to that leader's end,
// and reports whether the leader is there.
func (fl *flight) attach() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.waits {
		fl.attached = true
		fl.timer.Stop()
		fl.follow(fl.client)
	}
	return fl.waits
}

// follow lets the flight end with its client, until it ends by itself.
func (fl *flight) follow(client rt.Caller) {
	stop := context.AfterFunc(client.Ctx, func() { fl.cancel(context.Cause(client.Ctx)) })
	context.AfterFunc(fl.ctx, func() { stop() })
	if client.Cancel == nil {
		return
	}
	go func() {
		select {
		case <-client.Cancel:
			fl.cancel(client.Ended(time.Now()))
		case <-fl.ctx.Done():
		}
	}()
}

// dismiss ends the wait of the leader: it has left, or has been answered by a
// stale response.
func (fl *flight) dismiss() {
	fl.mu.Lock()
	fl.waits = false
	told := fl.told
	ends := fl.attached || !told && !fl.isNeeded()
	fl.mu.Unlock()
	if told {
		fl.drop()
	}
	fl.gate.Close()
	if ends {
		fl.abort(nil)
	}
}

// deserted is for when nobody reads any more what is on its way into the Store.
func (fl *flight) deserted() {
	fl.mu.Lock()
	ends := !fl.over && !fl.isNeeded()
	if !fl.over {
		fl.timer.Reset(fl.c.cfg.FetchTimeout) // it was not to cut what is being read
	}
	fl.mu.Unlock()
	if ends {
		fl.abort(nil)
	}
}

// joined is for who waits for a flight that another leads.
func (fl *flight) joined(leads bool) {
	if leads {
		return
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.others++
}

// parted is for who waits no more, and reads along by now if ever.
func (fl *flight) parted(leads bool) {
	if leads {
		return
	}
	fl.mu.Lock()
	fl.others--
	idle := !fl.waits && !fl.over
	if fl.told {
		idle = idle && fl.res.fate == landed && !fl.res.fill.isRead()
	}
	ends := idle && !fl.isNeeded()
	fl.mu.Unlock()
	if ends {
		fl.abort(nil)
	}
}

// isNeeded reports whether the flight, whose leader has left, is to go on, because
// others wait or as one that nobody waits for. It needs the lock.
func (fl *flight) isNeeded() bool { return fl.others > 0 || fl.lingers() }

// drop lets go of what only the leader could have used.
func (fl *flight) drop() {
	if fl.res.read != nil {
		fl.res.read.close()
	}
	if fl.res.resp != nil {
		rt.Discard(fl.ctx, fl.res.resp, func() { fl.cancel(nil) })
	}
}

// inform hands an informational response to the leader, if it can take it.
func (fl *flight) inform(i interim) {
	select {
	case fl.early <- i:
	default:
	}
}

// lingers reports whether the flight, whose leader has left, may go on for the sake
// of others and of the Store. It needs the lock.
func (fl *flight) lingers() bool {
	fl.unattended = fl.unattended || fl.c.takeUnattended()
	return fl.unattended
}
