package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childEnv makes the test program another one, for what is to be measured by itself:
// a server on a core of its own, what loads it, a process whose memory is weighed.
const childEnv = "FAILSOFT_BENCH_CHILD"

func TestMain(m *testing.M) {
	mode, arg, _ := strings.Cut(os.Getenv(childEnv), " ")
	if mode == "" {
		os.Exit(m.Run())
	}
	run, known := children[mode]
	if !known {
		fmt.Fprintln(os.Stderr, "no such child:", mode)
		os.Exit(2)
	}
	if err := run(arg); err != nil {
		fmt.Fprintln(os.Stderr, mode+":", err)
		os.Exit(1)
	}
}

var children = map[string]func(arg string) error{
	"load":      loadChild,
	"memory":    memoryChild,
	"raw":       rawChild,
	"failsoft":  failsoftChild,
	"handler":   handlerChild,
	"transport": transportChild,
}

// child is a command that runs this program in another mode, on one core where that
// matters and taskset is there.
func child(ctx context.Context, core, mode, arg string, env ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := onCore(ctx, core, self)
	cmd.Env = append(os.Environ(), childEnv+"="+mode+" "+arg)
	if core != "" {
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// onCore is a command on one core, if that may be said.
func onCore(ctx context.Context, core, name string, args ...string) *exec.Cmd {
	if taskset, err := exec.LookPath("taskset"); err == nil && core != "" {
		return exec.CommandContext(ctx, taskset, append([]string{"-c", core, name}, args...)...)
	}
	return exec.CommandContext(ctx, name, args...)
}

// startServer starts a child that serves, and returns its address and its id. It ends
// with its standard input, and so with this process.
func startServer(t *testing.T, core, mode, arg string) (address string, pid int) {
	t.Helper()
	cmd := child(context.Background(), core, mode, arg)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(address), cmd.Process.Pid
}

// serve serves until the standard input ends.
func serve(h http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// cpuOf is the CPU time that a process and its children have taken, to the nanosecond
// where the kernel tells.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	var all time.Duration
	for _, id := range append(childrenOf(pid), pid) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", id))
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has just ended
			}
			nanos, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			require.NoError(t, err)
			all += time.Duration(nanos)
		}
	}
	return all
}

func childrenOf(pid int) []int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var ids []int
	for word := range strings.FieldsSeq(string(text)) {
		if id, err := strconv.Atoi(word); err == nil {
			ids = append(append(ids, id), childrenOf(id)...)
		}
	}
	return ids
}
