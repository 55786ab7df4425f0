package healthcheck_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

// systemd is the socket that it listens on.
type systemd struct{ *net.UnixConn }

// listen makes a socket, and says so in the environment.
func listen(t *testing.T, socket string) systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Skipf("there are no datagram sockets here: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return systemd{conn}
}

// next returns what it is told next, or "" if that takes longer than patience.
func (s systemd) next(t *testing.T, patience time.Duration) string {
	t.Helper()
	require.NoError(t, s.SetReadDeadline(time.Now().Add(patience)))
	message := make([]byte, 1000)
	n, err := s.Read(message)
	if err != nil {
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	return string(message[:n])
}

// until reads until it is told something, past what it may be told meanwhile.
func (s systemd) until(t *testing.T, want, meanwhile string) {
	t.Helper()
	for range 1000 {
		got := s.next(t, 30*time.Second)
		if got == want {
			return
		}
		require.Equal(t, meanwhile, got)
	}
	require.Fail(t, "told too much")
}

// quiet asserts that it is told nothing any more.
func (s systemd) quiet(t *testing.T) {
	t.Helper()
	for range 1000 { // what is on its way may arrive: on a busy machine, as much as a socket holds
		if s.next(t, 200*time.Millisecond) == "" {
			return
		}
	}
	assert.Fail(t, "it is told on and on")
}

func socketIn(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	if len(socket) > 100 { // more does not fit into an address
		t.Skip(socket)
	}
	return socket
}

func TestSystemd(t *testing.T) {
	names := map[string]func(*testing.T) string{"path": socketIn}
	if runtime.GOOS == "linux" {
		names["abstract"] = func(*testing.T) string { return "@failsoft-healthcheck-" + strconv.Itoa(os.Getpid()) }
	}
	for title, socket := range names {
		t.Run(title, func(t *testing.T) {
			s := listen(t, socket(t))
			t.Setenv("WATCHDOG_USEC", "40000")
			t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
			c := healthcheck.MustNew(healthcheck.Config{})
			up := make(chan struct{})
			c.MustAdd("warm", healthcheck.Check{
				Probe: func(ctx context.Context) healthcheck.Result {
					select {
					case <-up:
						return healthcheck.Result{}
					case <-ctx.Done():
						return healthcheck.Result{Err: ctx.Err()}
					}
				},
				Timeout: 10 * time.Second, Impact: healthcheck.Critical, Groups: []string{healthcheck.Startup},
			})
			stop, err := c.Systemd() // before Start, as nothing of what happens then may be missed
			require.NoError(t, err)
			start(t, c)

			assert.Equal(t, "WATCHDOG=1", s.next(t, 30*time.Second), "alive, and not up yet")
			close(up)
			s.until(t, "READY=1", "WATCHDOG=1")
			s.until(t, "WATCHDOG=1", "")

			require.NoError(t, c.Override(healthcheck.Live, healthcheck.Override{Status: healthcheck.Fail}))
			s.quiet(t) // or it would never be restarted
			require.NoError(t, c.Lift(healthcheck.Live))
			s.until(t, "WATCHDOG=1", "")

			c.Drain()
			s.until(t, "STOPPING=1", "WATCHDOG=1")
			s.until(t, "WATCHDOG=1", "")

			stop()
			s.quiet(t)
			assert.NotPanics(t, stop, "a second time, by a defer")
		})
	}
}

func TestSystemdWithoutWatchdog(t *testing.T) {
	for title, env := range map[string][2]string{
		"not asked for":       {"", ""},
		"of another process":  {"10000", "1"},
		"asked of nobody yet": {"", strconv.Itoa(os.Getpid())},
	} {
		t.Run(title, func(t *testing.T) {
			s := listen(t, socketIn(t))
			t.Setenv("WATCHDOG_USEC", env[0])
			t.Setenv("WATCHDOG_PID", env[1])
			c := begin(t, healthcheck.Config{}, nil)
			stop, err := c.Systemd()
			require.NoError(t, err)
			defer stop()
			assert.Equal(t, "READY=1", s.next(t, 30*time.Second), "nothing to wait for")
			assert.Empty(t, s.next(t, 100*time.Millisecond))
			c.Drain()
			assert.Equal(t, "STOPPING=1", s.next(t, 30*time.Second))
		})
	}
}

func TestSystemdThatDoesNotListen(t *testing.T) {
	t.Run("has not asked", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		t.Setenv("WATCHDOG_USEC", "nonsense, and not for us")
		stop, err := begin(t, healthcheck.Config{}, nil).Systemd()
		require.NoError(t, err)
		stop()
		stop()
	})
	t.Run("any more", func(t *testing.T) {
		s := listen(t, socketIn(t))
		c := begin(t, healthcheck.Config{}, nil)
		stop, err := c.Systemd()
		require.NoError(t, err)
		require.NoError(t, s.Close())
		c.Drain()
		stop()
	})
}

func TestSystemdBadEnvironment(t *testing.T) {
	for title, socket := range map[string]string{
		"relative": "run/notify", "of another kind": "vsock:2:1234", "not there": "/nowhere/notify", "a space": " ",
	} {
		t.Run(title, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", socket)
			t.Setenv("WATCHDOG_USEC", "")
			stop, err := begin(t, healthcheck.Config{}, nil).Systemd()
			require.ErrorContains(t, err, "NOTIFY_SOCKET")
			assert.Nil(t, stop)
		})
	}
	for _, usec := range []string{"soon", "0", "1", "-1", "1.5", "30s", "99999999999999999999", "9999999999999999"} {
		t.Run("WATCHDOG_USEC "+usec, func(t *testing.T) {
			listen(t, socketIn(t))
			t.Setenv("WATCHDOG_USEC", usec)
			stop, err := begin(t, healthcheck.Config{}, nil).Systemd()
			require.ErrorContains(t, err, "WATCHDOG_USEC")
			assert.Nil(t, stop)
		})
	}
}
