//go:build unix

package main_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rttest"
)

const (
	soon = 30 * time.Second      // for what takes a moment, on a machine that has others to serve
	tick = 50 * time.Millisecond // between two looks
)

// part returns the path of a program that the test is about: in PATH, or where a distribution
// puts what is not meant for it. Without the program there is nothing to test; where it is
// promised to be there, that is a failure.
func part(t *testing.T, name string, places ...string) string {
	t.Helper()
	for _, place := range places {
		found, err := filepath.Glob(filepath.Join(place, name))
		require.NoError(t, err)
		if len(found) > 0 {
			slices.Sort(found)
			return found[len(found)-1]
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("FAILSOFT_REQUIRE_SERVICES") != "" {
		t.Fatalf("%s is missing, and FAILSOFT_REQUIRE_SERVICES is set", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

// binary is a program of ours, built once for all tests.
type binary struct {
	once sync.Once
	pkg  string
	path string
	out  []byte
	err  error
}

var (
	healthBinary  = binary{pkg: "."}
	hacheckBinary = binary{pkg: "github.com/failsoft/failsoft/examples/hacheck"}
	built         string // the folder of both
	givenPorts    sync.Map
)

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "failsoft-health-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(built); err != nil {
		panic(err)
	}
	os.Exit(code)
}

func (b *binary) build(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		b.path = filepath.Join(built, filepath.Base(b.pkg)+"-program")
		args := []string{"build", "-o", b.path}
		if rttest.UnderRace() { // an exit code of its own tells of one
			args = append(args, "-race")
		}
		b.out, b.err = exec.Command("go", append(args, b.pkg)...).CombinedOutput()
	})
	require.NoError(t, b.err, string(b.out))
	return b.path
}

// process is a program that a test has started, and ends by its id.
type process struct {
	cmd  *exec.Cmd
	log  string
	quit os.Signal // that ends it without waiting for anybody
	over chan struct{}
	err  error // how it ended, once over is closed
}

// start starts a program; setup changes the command before. It is ended with the test at the
// latest, and its log is shown if the test has failed.
func start(t *testing.T, setup func(*exec.Cmd), name string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if setup != nil {
		setup(cmd)
	}
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd, log: log.Name(), quit: os.Kill, over: make(chan struct{})}
	go func() {
		defer close(p.over)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.end(t)
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("%s %q said:\n%s", filepath.Base(name), args, tail(text, 4000))
		}
	})
	return p
}

func tail(text []byte, most int) []byte { return text[max(0, len(text)-most):] }

func (p *process) running() bool {
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

// wait returns how the process ended.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-p.over:
		return p.err
	case <-time.After(soon):
		t.Fatalf("%s does not end", p.cmd.Path)
		return nil
	}
}

// end has the process end, the hard way if it takes long.
func (p *process) end(t *testing.T) {
	t.Helper()
	if !p.running() {
		return
	}
	p.signal(t, p.quit)
	select {
	case <-p.over:
	case <-time.After(5 * time.Second):
		p.signal(t, os.Kill)
		<-p.over
	}
}

// folder returns a folder that a test's programs may use as another user, whom t.TempDir keeps
// out: its own folder is in one that only the test's user may enter.
func folder(t *testing.T, owner *syscall.Credential) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711))
	if owner != nil {
		require.NoError(t, os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	}
	return dir
}

// servant returns as whom to run a database that refuses to run as root: as its own user, which
// its package has made. Nil is the user that the test runs as.
func servant(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// as has a command run as somebody in a folder.
func as(who *syscall.Credential, dir string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
}

// command runs a program to its end, which must be a good one.
func command(t *testing.T, setup func(*exec.Cmd), name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if setup != nil {
		setup(cmd)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, bytes.TrimSpace(out))
}

// freePort returns a port of the loopback that nobody listens on. It is not one of those that the
// kernel hands out to connections (from 32768 on, mostly): a server that is restarted would now and
// then find its port taken by one. Nor is it one that another part has been told to take.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", address(port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// eventually waits for a condition, and returns how long that took. Unlike testify's it asks on
// the test's own goroutine, so that a condition may use require, and is never left behind.
func eventually(t *testing.T, what string, condition func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	look := time.NewTicker(tick)
	defer look.Stop()
	for !condition() {
		if time.Since(begin) > soon {
			t.Fatalf("not within %v: %s", soon, what)
		}
		<-look.C
	}
	return time.Since(begin).Round(time.Millisecond)
}

// remains looks for a while whether a condition is always met.
func remains(t *testing.T, what string, during time.Duration, condition func() bool) {
	t.Helper()
	look := time.NewTicker(tick)
	defer look.Stop()
	for begin := time.Now(); time.Since(begin) < during; <-look.C {
		if !condition() {
			t.Fatalf("no more after %v: %s", time.Since(begin), what)
		}
	}
}

// answer is what a request got.
type answer struct {
	code   int
	header http.Header
	body   string
}

func ask(ctx context.Context, client *http.Client, method, url string, body io.Reader, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// get asks on a connection of its own.
func get(t *testing.T, url string, header http.Header) (answer, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	return ask(t.Context(), client, http.MethodGet, url, nil, header)
}

// code returns what a GET is answered with, 0 if it is not.
func code(t *testing.T, url string) int {
	t.Helper()
	a, err := get(t, url, nil)
	if err != nil {
		return 0
	}
	return a.code
}

// mustGet is get where there must be an answer.
func mustGet(t *testing.T, url string) answer {
	t.Helper()
	a, err := get(t, url, nil)
	assert.NoError(t, err)
	return a
}
