package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

const (
	soon = 30 * time.Second      // for what takes a moment, on a machine that has others to serve
	tick = 10 * time.Millisecond // between two looks
)

// broker is a NATS server that a test has started.
type broker struct {
	t       *testing.T // that it lives as long as
	program string
	data    string
	port    int
	cmd     *exec.Cmd
	log     bytes.Buffer // to be read when it has ended

	js jetstream.JetStream
}

// newBroker starts a server on a free port of the loopback and connects to it. It is
// killed with the test at the latest.
func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, program: natsServer(t), data: t.TempDir(), port: freePort(t)}
	b.start(t)
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	conn, err := nats.Connect(b.url(), nats.Timeout(soon), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	b.js, err = jetstream.New(conn)
	require.NoError(t, err)
	return b
}

func natsServer(t *testing.T) string {
	t.Helper()
	const installed = "/usr/sbin/nats-server" // which is not in everybody's PATH
	if _, err := os.Stat(installed); err == nil {
		return installed
	}
	program, err := exec.LookPath("nats-server")
	if err != nil && os.Getenv("FAILSOFT_REQUIRE_SERVICES") == "" {
		t.Skip("there is no nats-server")
	}
	require.NoError(t, err, "FAILSOFT_REQUIRE_SERVICES is set")
	return program
}

// freePort returns a port of the loopback that nobody listens on. It is not one of those that the
// kernel hands out to connections (from 32768 on, mostly): who tries to connect to such a one before
// the server listens may be given that very port, and keeps it from the server.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.port) }

// start returns when the server takes connections and has its streams.
func (b *broker) start(t *testing.T) {
	t.Helper()
	b.cmd = exec.Command(b.program, "-a", "127.0.0.1", "-p", strconv.Itoa(b.port),
		"-js", "-sd", filepath.Join(b.data, "js"))
	b.cmd.Stdout, b.cmd.Stderr = &b.log, &b.log
	require.NoError(t, b.cmd.Start())
	require.Eventually(t, func() bool {
		conn, err := nats.Connect(b.url())
		if err != nil {
			return false
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		require.NoError(t, err)
		_, err = js.AccountInfo(t.Context())
		return err == nil
	}, soon, tick, "the broker answers")
}

// kill ends the server as a crash does.
func (b *broker) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// publish puts messages numbered from 0 into the queue.
func (b *broker) publish(t *testing.T, subject string, n int) {
	t.Helper()
	for i := range n {
		_, err := b.js.PublishAsync(subject, fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(soon):
		t.Fatal("the broker does not take the messages")
	}
}

// left is how many messages a stream has.
func (b *broker) left(t *testing.T, stream string) int {
	t.Helper()
	s, err := b.js.Stream(t.Context(), stream)
	require.NoError(t, err)
	return int(s.CachedInfo().State.Msgs)
}

// letters are the dead ones.
func (b *broker) letters(t *testing.T) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := b.js.Stream(t.Context(), dead)
	require.NoError(t, err)
	var letters []*jetstream.RawStreamMsg
	for sequence := range s.CachedInfo().State.Msgs {
		letter, err := s.GetMsg(t.Context(), sequence+1)
		require.NoError(t, err)
		letters = append(letters, letter)
	}
	return letters
}

// info is what the broker knows of the consumer.
func (b *broker) info(t *testing.T) *jetstream.ConsumerInfo {
	t.Helper()
	queue, err := b.js.Consumer(t.Context(), orders, worker)
	require.NoError(t, err)
	return queue.CachedInfo()
}

type handler = func(context.Context, jetstream.Msg) error

// consumer returns one that is as quick as a test wants it.
func (b *broker) consumer(t *testing.T, ackWait time.Duration, limit backpressure.Limit, handle handler) *consumer {
	t.Helper()
	queue, err := streams(t.Context(), b.js, ackWait)
	require.NoError(t, err)
	limiter, err := backpressure.New(backpressure.Config{Limit: limit})
	require.NoError(t, err)
	return &consumer{
		queue: queue, js: b.js, limiter: limiter, handle: handle,
		policy: policy{attempts: 4, delay: 200 * time.Millisecond, maxDelay: soon, timeout: soon, grace: soon},
		logger: slog.New(slog.DiscardHandler),
	}
}

// running runs a consumer until stop is called, which returns what run did.
func running(t *testing.T, c *consumer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx) }()
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(soon):
			return fmt.Errorf("it does not end: %w", context.DeadlineExceeded)
		}
	}
}
