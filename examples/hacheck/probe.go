package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxBody is how much of a service's own answer is handed on.
const maxBody = 64 << 10

// prober asks the services of this machine.
type prober struct {
	client *http.Client
	host   string // 127.0.0.1
	header string // tells a service which one is meant; empty is none
}

func newProber(header string) *prober {
	transport := &http.Transport{
		Proxy:                  nil, // a proxy of the environment has no business here
		DialContext:            (&net.Dialer{}).DialContext,
		DisableKeepAlives:      true, // a probe also finds out whether it takes connections
		MaxResponseHeaderBytes: 1 << 16,
	}
	return &prober{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		host: "127.0.0.1", header: header,
	}
}

func (p *prober) probe(ctx context.Context, q question) answer {
	begin := time.Now()
	var a answer
	var err error
	switch q.kind {
	case "http":
		a, err = p.http(ctx, q)
	case "tcp":
		a, err = p.tcp(ctx, q)
	case "mysql":
		a, err = p.mysql(ctx, q)
	default:
		err = fmt.Errorf("no probe for %q", q.kind)
	}
	if err != nil {
		return answer{
			http.StatusServiceUnavailable,
			fmt.Sprintf("%s after %.2fs: %v", q.kind, time.Since(begin).Seconds(), err),
		}
	}
	return a
}

// http hands on what the service answers, so that a balancer's own rules about codes
// hold.
func (p *prober) http(ctx context.Context, q question) (a answer, err error) {
	url := "http://" + p.address(q) + q.path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return a, err
	}
	req.Header.Set("User-Agent", "hacheck (failsoft)")
	if p.header != "" {
		req.Header.Set(p.header, q.service)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return a, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 599 {
		return a, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return answer{resp.StatusCode, string(body)}, nil
}

func (p *prober) tcp(ctx context.Context, q question) (a answer, err error) {
	begin := time.Now()
	conn, err := p.dial(ctx, q)
	if err != nil {
		return a, err
	}
	_ = conn.Close() // it was good for a connection
	return answer{http.StatusOK, fmt.Sprintf("Connected in %.2fs", time.Since(begin).Seconds())}, nil
}

// mysql reads the packet by which a MySQL or MariaDB server greets. That needs no
// user and no driver, and tells a server that takes logins from one that has too many
// connections, or refuses this host.
func (p *prober) mysql(ctx context.Context, q question) (a answer, err error) {
	conn, err := p.dial(ctx, q)
	if err != nil {
		return a, err
	}
	defer func() { _ = conn.Close() }() // nothing was written
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	version, err := readGreeting(conn)
	if err != nil {
		return a, err
	}
	return answer{http.StatusOK, "MySQL " + version}, nil
}

// readGreeting returns the server's version. A packet is three bytes of length, one
// of sequence, and the payload: 10 and the version up to a zero, or 255, an error
// code of two bytes and its text.
func readGreeting(r io.Reader) (version string, err error) {
	var head [4]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return "", fmt.Errorf("no greeting: %w", err)
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size < 2 || size > 1<<12 || head[3] != 0 {
		return "", fmt.Errorf("no greeting of MySQL: it begins with % x", head)
	}
	payload := make([]byte, size)
	if _, err = io.ReadFull(r, payload); err != nil {
		return "", fmt.Errorf("half a greeting: %w", err)
	}
	switch {
	case payload[0] == 0xff && size >= 3:
		return "", fmt.Errorf("it refuses with error %d: %q", int(payload[1])|int(payload[2])<<8, payload[3:])
	case payload[0] != 10:
		return "", fmt.Errorf("no greeting of MySQL: protocol %d", payload[0])
	}
	text, _, ended := bytes.Cut(payload[1:], []byte{0})
	if !ended {
		return "", fmt.Errorf("no greeting of MySQL: its version has no end: %q", text)
	}
	return string(text), nil
}

func (p *prober) dial(ctx context.Context, q question) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", p.address(q))
}

func (p *prober) address(q question) string { return net.JoinHostPort(p.host, strconv.Itoa(q.port)) }
