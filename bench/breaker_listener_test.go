package bench_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/failsoft/failsoft/bench"
)

// Listeners are tried in a process of their own, which may hang or die of it.
const (
	listenerVariable = "FAILSOFT_BENCH_LISTENER" // the breaker, a space, what its listener does
	listenerPatience = 3 * time.Second
	listenerWait     = 30 * time.Second // for ours, which answers: the process may be slow to start
)

func listenerAsks(t *testing.T, b bench.Breaker) string {
	t.Helper()
	return listen(t, b, "asks")
}

func listenerPanics(t *testing.T, b bench.Breaker) string {
	t.Helper()
	return listen(t, b, "panics")
}

func listen(t *testing.T, b bench.Breaker, deed string) string {
	t.Helper()
	if !b.Listens {
		return notThere
	}
	patience := listenerPatience
	if b.Name == bench.Breakers()[0].Name {
		patience = listenerWait
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestListenerProcess$", "-test.timeout=1m")
	child.Env = append(os.Environ(), listenerVariable+"="+b.Name+" "+deed)
	out, err := child.CombinedOutput()
	if saw := regexp.MustCompile(`(?m)^listener: (.*)$`).FindSubmatch(out); saw != nil {
		return string(saw[1])
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "deadlock"
	}
	t.Logf("%s, listener %s: %v", b.Name, deed, err)
	return "process dies"
}

// TestListenerProcess is what happens in that process.
func TestListenerProcess(*testing.T) {
	for _, b := range bench.Breakers() {
		switch os.Getenv(listenerVariable) {
		case b.Name + " asks":
			ask, answered := func() string { return "" }, false
			c := b.New(bench.CircuitConfig{Window: 10 * time.Second, Listener: func() {
				answered = ask() != ""
			}}, nil)
			ask = c.State
			tripped(subject{Circuit: c})
			fmt.Println("listener:", map[bool]string{true: "answered", false: "not called"}[answered])
		case b.Name + " panics":
			c := b.New(bench.CircuitConfig{Window: 10 * time.Second, Listener: func() { panic("listener") }}, nil)
			fmt.Println("listener:", whoseProblem(c))
		}
	}
}

// whoseProblem says where the panic of a listener ends up.
func whoseProblem(c bench.Circuit) (saw string) {
	defer func() {
		if recover() != nil {
			saw = "hits the caller"
		}
	}()
	tripped(subject{Circuit: c})
	return "contained"
}
