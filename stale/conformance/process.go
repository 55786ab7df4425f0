package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	patience = 20 * time.Second // until a program listens
	grace    = 5 * time.Second  // until it is killed, having been told to end
)

// process is a program that this one has started, and ends.
type process struct {
	name      string
	cancel    context.CancelFunc
	done      chan struct{}
	out, errs bytes.Buffer // until done they are cmd's
	err       error        // as well
}

func start(ctx context.Context, folder string, env []string, name string, args ...string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{name: name, cancel: cancel, done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // The callers name programs of theirs.
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// command runs a program to its end and returns what it wrote.
func command(ctx context.Context, folder string, env []string, name string, args ...string) ([]byte, error) {
	p, err := start(ctx, folder, env, name, args...)
	if err != nil {
		return nil, err
	}
	defer p.cancel()
	<-p.done
	return p.out.Bytes(), p.failure()
}

// failure says what became of a program that has ended.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.err, strings.TrimSpace(p.errs.String()))
}

// end ends a program that was to run until now, and returns what it wrote to its
// standard output.
func (p *process) end() ([]byte, error) {
	select {
	case <-p.done:
		return p.out.Bytes(), errors.Join(fmt.Errorf("%s ended before its time", p.name), p.failure())
	default:
	}
	p.cancel()
	<-p.done // how it takes that is its own business
	return p.out.Bytes(), nil
}

// listening starts a program that is to listen on a port, and waits until it does.
func listening(
	ctx context.Context, port int, folder string, env []string, name string, args ...string,
) (*process, error) {
	p, err := start(ctx, folder, env, name, args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, failed := (&net.Dialer{}).DialContext(ctx, "tcp", local(port))
		if failed == nil {
			return p, conn.Close()
		}
		select {
		case <-again.C:
		case <-p.done:
			_, err = p.end()
			return nil, err
		case <-ctx.Done():
			_, err = p.end()
			return nil, errors.Join(fmt.Errorf("%s does not listen on port %d", name, port), failed, err)
		}
	}
}

// freePorts returns two ports that nobody listens on. They are none of those that
// systems hand out by themselves, one of which would soon be some connection's of the
// suite. Where somebody else is faster, our program ends, and that is noticed.
func freePorts(ctx context.Context) (first, second int, err error) {
	const lowest, many, tries = 20000, 12000, 100
	var ports []int
	for range tries {
		port := lowest + rand.IntN(many)
		listener, failed := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
		if failed != nil {
			err = failed
			continue
		}
		if failed := listener.Close(); failed != nil {
			return 0, 0, failed
		}
		if ports = append(ports, port); len(ports) == 2 && ports[0] != ports[1] {
			return ports[0], ports[1], nil
		}
		ports = ports[len(ports)-1:]
	}
	return 0, 0, fmt.Errorf("no free ports: %w", err)
}
