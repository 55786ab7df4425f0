package memnet

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Listener accepts the connections that its own Dial makes.
type Listener struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    sync.Once
	dials    atomic.Int64
}

// Listen returns a listener. Nothing but its Dial reaches it.
func Listen() *Listener {
	return &Listener{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, l.fail("accept", net.ErrClosed)
	}
}

// Close ends Accept and refuses further dials. Connections that were accepted stay open.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.closed) })

	return nil
}

// Addr returns the address that every connection has at the server's end.
func (l *Listener) Addr() net.Addr { return serverAddr() }

// Dial connects to the listener, whatever the address. It fits http.Transport.DialContext.
// It waits until the connection is accepted: there is no backlog.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := pipe(clientAddr(int(l.dials.Add(1))), serverAddr())

	select {
	case l.accepted <- server:
		return client, nil
	case <-l.closed:
		return nil, l.fail("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.fail("dial", ctx.Err())
	}
}

// Dials returns how many connections were asked for so far.
func (l *Listener) Dials() int { return int(l.dials.Load()) }

func (l *Listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: serverAddr(), Err: err}
}
