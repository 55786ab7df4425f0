package cachetest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long a client waits.
func (s *Stand) patience() time.Duration { return cmp.Or(s.Patience, 3*time.Second) }

// answer is what a client gets.
type answer struct {
	status  int
	header  http.Header
	body    string
	trailer http.Header
	first   time.Duration // to the first byte of the body
	took    time.Duration
}

// asking is a request, by what is not the same for all.
type asking struct {
	method, host string
	header       map[string]string
}

func (a asking) with(name, value string) asking {
	a.header = map[string]string{name: value}
	return a
}

// get asks on a connection of its own.
func (s *Stand) get(ctx context.Context, path string, as asking) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	c, err := dial(ctx, s.Address)
	if err != nil {
		return answer{}, err
	}
	defer c.close()
	return c.ask(path, as)
}

// conn is a connection as a client of few words has it: what there is to be timed is
// the cache.
type conn struct {
	net.Conn

	in *bufio.Reader
}

func dial(ctx context.Context, address string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

// close has no error that matters: all has been read.
func (c *conn) close() { _ = c.Close() }

func (c *conn) ask(path string, as asking) (answer, error) {
	method, host := as.method, as.host
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = "cache.test"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for name, value := range as.header {
		fmt.Fprintf(&text, "%s: %s\r\n", name, value)
	}
	if method == http.MethodPost {
		text.WriteString("Content-Length: 0\r\n")
	}
	text.WriteString("\r\n")
	begun := time.Now()
	if _, err := io.WriteString(c, text.String()); err != nil {
		return answer{}, err
	}
	return c.read(method, begun)
}

func (c *conn) read(method string, begun time.Time) (answer, error) {
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	one := make([]byte, 1)
	n, err := io.ReadFull(resp.Body, one)
	a.first = time.Since(begun)
	rest, err2 := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		return a, err
	}
	maps.DeleteFunc(resp.Trailer, func(_ string, values []string) bool { return len(values) == 0 }) // announced only
	a.took, a.body, a.trailer = time.Since(begun), string(one[:n])+string(rest), resp.Trailer
	return a, err2
}

// herd asks with as many clients as there are askings, all at once, on connections that
// are there and warm.
func (s *Stand) herd(ctx context.Context, address, path string, all []asking) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.patience())
	defer cancel()
	conns, err := dialAll(ctx, address, len(all))
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	answers, failures := make([]answer, len(all)), make([]error, len(all))
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range all {
		done.Go(func() {
			<-start
			answers[i], failures[i] = conns[i].ask(path, all[i])
		})
	}
	close(start)
	done.Wait()
	return answers, errors.Join(failures...)
}

// dialAll returns connections over which one answer each has come.
func dialAll(ctx context.Context, address string, n int) (conns []*conn, err error) {
	for range n {
		c, err := dial(ctx, address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
		if _, err := c.ask("/warm/", asking{}); err != nil {
			return conns, err
		}
	}
	return conns, nil
}

// alike returns as many askings, all the same.
func alike(n int) []asking { return make([]asking, n) }

// middle and slowest are times that answers took.
func middle(answers []answer) time.Duration  { return sorted(answers)[len(answers)/2] }
func slowest(answers []answer) time.Duration { return sorted(answers)[len(answers)-1] }

func sorted(answers []answer) []time.Duration {
	took := make([]time.Duration, len(answers))
	for i, a := range answers {
		took[i] = a.took
	}
	slices.Sort(took)
	return took
}

// bodies counts how many got which.
func bodies(answers []answer) map[string]int {
	count := make(map[string]int)
	for _, a := range answers {
		count[a.body]++
	}
	return count
}
