package bench_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

// reply is what a request that was to be sent at some time was answered; status is 0
// if it was not.
type reply struct {
	at, took time.Duration
	status   int
}

// flood sends requests over as many connections as it takes.
type flood struct {
	address string
	begun   time.Time

	mu      sync.Mutex
	idle    []chan time.Duration // the connection used last is last
	answers []reply
	open    int
	sent    int // after the time of warming up
}

// mostConns bounds what a server without a limit makes of it.
const mostConns = 4000

// floodChild floods an address at a rate for a time.
func floodChild(arg string) error {
	var address, took string
	var rate float64
	if _, err := fmt.Sscan(arg, &address, &rate, &took); err != nil {
		return err
	}
	length, err := time.ParseDuration(took)
	if err != nil {
		return err
	}
	const warm = 2 * time.Second
	f := &flood{address: address, begun: time.Now()}
	luck := rand.New(rand.NewPCG(1, 2))
	for at := time.Duration(0); at < length; at += time.Duration(luck.ExpFloat64() / rate * float64(time.Second)) {
		<-time.After(time.Until(f.begun.Add(at)))
		f.send(at)
		if at >= warm {
			f.sent++
		}
	}
	<-time.After(300 * time.Millisecond) // what comes later is late
	return f.report(warm, length)
}

// closedChild asks an address on a few connections, for a time, as fast as it answers.
func closedChild(arg string) error {
	var address, took string
	if _, err := fmt.Sscan(arg, &address, &took); err != nil {
		return err
	}
	length, err := time.ParseDuration(took)
	if err != nil {
		return err
	}
	f := &flood{address: address, begun: time.Now()}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for at := time.Since(f.begun); at < length; at = time.Since(f.begun) {
				f.exchange(conn, in, at)
			}
		})
	}
	all.Wait()
	return f.report(0, length)
}

func (f *flood) report(warm, length time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := summary(f.answers, warm, length)
	sum.Sent = f.sent
	return json.NewEncoder(writerFunc(fmt.Print)).Encode(sum)
}

// send sends a request on a connection that has nothing else to do.
func (f *flood) send(at time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		f.idle[n-1] <- at
		f.idle = f.idle[:n-1]
		return
	}
	if f.open >= mostConns {
		f.answers = append(f.answers, reply{at: at})
		return
	}
	f.open++
	go f.connect(at)
}

func (f *flood) connect(at time.Duration) {
	next := make(chan time.Duration, 1)
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.note(reply{at: at})
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for ok := f.exchange(conn, in, at); ok; ok = f.exchange(conn, in, <-next) {
		f.mu.Lock()
		f.idle = append(f.idle, next)
		f.mu.Unlock()
	}
}

func (f *flood) note(a reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = append(f.answers, a)
}

// exchange sends a request and reads the answer.
func (f *flood) exchange(conn net.Conn, in *bufio.Reader, at time.Duration) (ok bool) {
	a := reply{at: at}
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n")); err == nil {
		a.status, err = readAnswer(in)
		ok = err == nil
	}
	a.took = time.Since(f.begun) - at
	f.note(a)
	return ok
}

// readAnswer reads no more of an answer than where it ends.
func readAnswer(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil || len(line) < len("HTTP/1.1 200") {
		return 0, err
	}
	status, err = strconv.Atoi(string(line[9:12]))
	length := 0
	for err == nil && len(line) > 2 {
		line, err = in.ReadSlice('\n')
		if name, value, found := bytes.Cut(line, []byte(": ")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	if err == nil {
		_, err = in.Discard(length)
	}
	return status, err
}
