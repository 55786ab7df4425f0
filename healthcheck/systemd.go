package healthcheck

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Systemd tells systemd how the service is, if that has asked to be told
// (Type=notify): READY=1 when the Startup group passes, WATCHDOG=1 at half of
// WatchdogSec while the Live group does not fail, STOPPING=1 when it drains. stop ends
// it; where systemd has not asked, it does nothing. It is described in sd_notify(3).
func (c *Checker) Systemd() (stop func(), err error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return func() {}, nil
	}
	conn, err := dialNotify(socket)
	if err != nil {
		return nil, err
	}
	startup, unwatch, err := c.Watch(Startup)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	n := &notifier{c: c, conn: conn, startup: startup, done: make(chan struct{}), over: make(chan struct{})}
	if n.watchdog, err = watchdogPeriod(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")); err != nil {
		unwatch()
		return nil, errors.Join(err, conn.Close())
	}
	go n.run()
	return sync.OnceFunc(func() {
		close(n.done)
		<-n.over
		unwatch()
	}), nil
}

// dialNotify opens the socket that systemd listens on. A name that begins with @ is
// one in the abstract namespace.
func dialNotify(name string) (net.Conn, error) {
	if name[0] != '/' && name[0] != '@' {
		return nil, fmt.Errorf("healthcheck: NOTIFY_SOCKET is %q, neither a path nor an abstract name", name)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("healthcheck: NOTIFY_SOCKET: %w", err)
	}
	return conn, nil
}

// watchdogPeriod returns how often systemd is to be told, or 0 for never: half of
// what it waits for, unless that is meant for another process.
func watchdogPeriod(usec, pid string) (time.Duration, error) {
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseUint(usec, 10, 62)
	if err != nil || n < 2 || n > uint64(mostPeriod/time.Microsecond) {
		return 0, fmt.Errorf("healthcheck: WATCHDOG_USEC is %q, not a number of microseconds", usec)
	}
	return time.Duration(n) * time.Microsecond / 2, nil
}

// notifier tells systemd.
type notifier struct {
	c          *Checker
	conn       net.Conn
	startup    <-chan Status
	watchdog   time.Duration
	done, over chan struct{}
}

func (n *notifier) run() {
	defer close(n.over)
	defer func() { _ = n.conn.Close() }()
	var ticks <-chan time.Time
	if n.watchdog > 0 {
		ticker := time.NewTicker(n.watchdog)
		defer ticker.Stop()
		ticks = ticker.C
	}
	ready, drained := false, n.c.drained
	for {
		select {
		case s := <-n.startup:
			if !ready && (s == Pass || s == Warn) {
				ready = true
				n.tell("READY=1")
			}
		case <-ticks:
			if n.c.Status(Live) != Fail {
				n.tell("WATCHDOG=1")
			}
		case <-drained:
			n.tell("STOPPING=1")
			drained = nil // and the watchdog wants to be told on
		case <-n.done:
			return
		}
	}
}

// tell sends a state. Whoever does not listen any more is not told.
func (n *notifier) tell(state string) {
	_ = n.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = n.conn.Write([]byte(state))
}
