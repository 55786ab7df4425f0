package cachetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program is a cache that is a program of its own.
type Program struct {
	Address string
	Pid     int
}

// Varnish starts varnishd in front of the origin at an address, with the stock rules and
// params, each a pair of what -p takes. On is what to run it with, if anything: taskset.
// It ends with the test; where there is no varnishd, the test is skipped, or has failed
// if FAILSOFT_REQUIRE_SERVICES is set.
func Varnish(tb testing.TB, origin string, params, on []string) Program {
	tb.Helper()
	dir := tb.TempDir()
	host, port, err := net.SplitHostPort(origin)
	if err != nil {
		tb.Fatal(err)
	}
	rules := "vcl 4.1;\nbackend default { .host = \"" + host + "\"; .port = \"" + port + "\"; }\n"
	write(tb, filepath.Join(dir, "rules.vcl"), rules)
	address := freeAddress(tb)
	args := slices.Concat(on, []string{
		find(tb, "varnishd"), "-j", "none", "-F", "-n", filepath.Join(dir, "work"), "-a", address,
		"-f", filepath.Join(dir, "rules.vcl"), "-s", "malloc,64M",
	})
	for _, param := range params {
		args = append(args, "-p", param)
	}
	return start(tb, dir, address, args)
}

// NginxTuned is what makes nginx answer with what is old, as far as it can.
const NginxTuned = `proxy_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504;
proxy_cache_background_update on; proxy_cache_lock on;`

// Nginx starts nginx likewise. Extra are directives for its location.
func Nginx(tb testing.TB, origin, extra string, on []string) Program {
	tb.Helper()
	dir := tb.TempDir()
	address := freeAddress(tb)
	config := strings.NewReplacer("DIR", dir, "ADDRESS", address, "ORIGIN", origin, "EXTRA", extra).Replace(`
daemon off; pid DIR/pid; error_log DIR/errors; worker_processes 1; USER
events { worker_connections 2048; }
http {
	access_log off;
	keepalive_requests 1000000;
	open_file_cache max=1000;
	sendfile on;
	proxy_cache_path DIR/cache levels=1:2 keys_zone=cache:8m max_size=64m;
	proxy_temp_path DIR/temp; client_body_temp_path DIR/temp; fastcgi_temp_path DIR/temp;
	scgi_temp_path DIR/temp; uwsgi_temp_path DIR/temp;
	server {
		listen ADDRESS;
		location / { proxy_pass http://ORIGIN; proxy_cache cache; proxy_cache_revalidate on; EXTRA }
	}
}`)
	if os.Geteuid() == 0 { // its workers would be somebody who may not enter the folder
		config = strings.Replace(config, "USER", "user root;", 1)
	} else {
		config = strings.Replace(config, "USER", "", 1)
	}
	write(tb, filepath.Join(dir, "nginx.conf"), config)
	command := []string{find(tb, "nginx"), "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "errors")}
	return start(tb, dir, address, slices.Concat(on, command))
}

func write(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// find returns the path of a program, also where a user's PATH does not lead.
func find(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	path = filepath.Join("/usr/sbin", name)
	if _, err = os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("FAILSOFT_REQUIRE_SERVICES") != "" {
		tb.Fatalf("%s is missing, and FAILSOFT_REQUIRE_SERVICES is set", name)
	}
	tb.Skipf("%s is missing", name)
	return ""
}

// start starts a program, waits until it listens, and ends it by its id.
func start(tb testing.TB, dir, address string, command []string) Program {
	tb.Helper()
	log, err := os.CreateTemp(dir, "log")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	//nolint:gosec // what a test starts, the test says
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = cmd.Wait() // how it ends is how it was ended
	}()
	tb.Cleanup(func() {
		end(cmd.Process, over)
		if tb.Failed() {
			text, _ := os.ReadFile(log.Name())
			tb.Logf("%s said:\n%s", command[0], text)
		}
	})
	listening(tb, address, over)
	return Program{Address: address, Pid: cmd.Process.Pid}
}

// end asks a process to end, and makes it after a while.
func end(process *os.Process, over <-chan struct{}) {
	const grace = 5 * time.Second
	if err := process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
		_ = process.Kill()
		<-over
	}
}

func listening(tb testing.TB, address string, over <-chan struct{}) {
	tb.Helper()
	const most = 30 * time.Second
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for begun := time.Now(); time.Since(begun) < most; <-look.C {
		c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-over:
			tb.Fatal("it has ended at once")
		default:
		}
	}
	tb.Fatalf("nobody listens on %s", address)
}

// freeAddress returns one of the loopback with a port that nobody listens on, and that
// the kernel does not hand out to connections.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000)))
		if l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	tb.Fatal("there is no free port")
	return ""
}
