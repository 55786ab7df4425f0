package memnet

import (
	"errors"
	"io"
	"net"
	"time"
)

// conn is one end of a connection. Its errors are those of a TCP connection.
type conn struct {
	in, out       *stream
	local, remote net.Addr
}

// Pipe returns the two ends of a connection.
func Pipe() (net.Conn, net.Conn) {
	return pipe(clientAddr(1), serverAddr())
}

func pipe(client, server net.Addr) (*conn, *conn) {
	up, down := newStream(), newStream()

	return &conn{in: down, out: up, local: client, remote: server},
		&conn{in: up, out: down, local: server, remote: client}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)

	return n, c.wrap("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)

	return n, c.wrap("write", err)
}

func (c *conn) Close() error {
	c.in.abandon()
	c.out.finish()

	return nil
}

// CloseWrite ends the outgoing half only. http.Server asks for it, to let a client read a refusal
// before the connection goes away.
func (c *conn) CloseWrite() error {
	c.out.finish()

	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

func (c *conn) SetReadDeadline(at time.Time) error {
	return c.wrap("set", c.in.limitReads(at))
}

func (c *conn) SetWriteDeadline(at time.Time) error {
	return c.wrap("set", c.out.limitWrites(at))
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}

	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// The addresses are of a range that is reserved for documentation, so that whatever parses the
// remote address of a request finds one.
func clientAddr(port int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}
}

func serverAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}
}
