package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// bench is what all configurations are run with.
type bench struct {
	suite *suite
	edge  string // the program
	page  page
	keep  string
}

func prepare(ctx context.Context, temp string, opts options, out io.Writer) (*bench, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "conformance.md")) //nolint:gosec // of this repository
	if err != nil {
		return nil, err
	}
	b := &bench{edge: filepath.Join(temp, "edge"), keep: opts.keep}
	if b.page, err = readPage(string(text)); err != nil {
		return nil, err
	}
	if _, err = command(ctx, root, nil, "go", "build", "-o", b.edge, "./examples/edge"); err != nil {
		return nil, err
	}
	b.suite, err = install(ctx, temp, opts.suite, out)
	return b, err
}

func moduleRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(mod))), err
}

// compare runs the configurations and says how they and the page differ. A run that
// differs is repeated, and what differs both times counts: the suite waits for three
// seconds where two would do, and a machine may be busier than that.
func (b *bench) compare(ctx context.Context, chosen []configuration, opts options, out io.Writer) error {
	outcomes := make([]outcome, len(chosen))
	var all sync.WaitGroup
	slots := make(chan struct{}, opts.parallel)
	for i, c := range chosen {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i] = b.settle(ctx, c)
		})
	}
	all.Wait()
	var failed error
	for _, o := range outcomes {
		if o.err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", o.name, o.err))
		}
	}
	if failed != nil {
		return failed
	}
	return report(out, outcomes, opts.verbose)
}

func (b *bench) settle(ctx context.Context, c configuration) outcome {
	o := outcome{name: c.name}
	for {
		res, err := b.measure(ctx, c, o.runs)
		if err != nil {
			o.err = err
			return o
		}
		differs := b.page.differences(c.name, b.suite.tests, res)
		if o.runs++; o.runs == 1 {
			o.first = differs
		} else {
			differs = both(o.first, differs)
		}
		o.results, o.differs = res, differs
		o.tests = b.suite.tests
		if len(differs) == 0 || o.runs == 2 {
			return o
		}
	}
}

// measure runs all tests. The suite's client may end without a word when a cache cuts
// a response short: that is worth a second try.
func (b *bench) measure(ctx context.Context, c configuration, n int) (results, error) {
	var text []byte
	_, err := b.around(ctx, c, func(cache int) (err error) {
		for range 2 {
			text, err = b.client(ctx, cache, "")
			if err != nil || len(bytes.TrimSpace(text)) > 0 {
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if b.keep != "" {
		name := fmt.Sprintf("%s-%d.json", c.name, n+1)
		if err := os.WriteFile(filepath.Join(b.keep, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	var res results
	if err := json.Unmarshal(text, &res); err != nil {
		return nil, fmt.Errorf("what the suite's client says: %w", err)
	}
	return res, nil
}

// show runs one test and writes what its client and its origin have seen.
func (b *bench) show(ctx context.Context, c configuration, id string, out io.Writer) error {
	if _, known := b.suite.tests[id]; !known {
		return fmt.Errorf("there is no test %q", id)
	}
	var seen []byte
	served, err := b.around(ctx, c, func(cache int) (err error) {
		seen, err = b.client(ctx, cache, id)
		return err
	})
	_, _ = fmt.Fprintf(out, "the client:\n%s\nthe origin:\n%s", seen, served)
	return err
}

// around has the suite's origin and the program in front of it running while do does,
// and returns what the origin has said.
func (b *bench) around(ctx context.Context, c configuration, do func(cache int) error) (said []byte, err error) {
	port, cache, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	origin, err := b.origin(ctx, port)
	if err != nil {
		return nil, err
	}
	defer func() {
		text, failed := origin.end()
		said, err = text, errors.Join(err, failed)
	}()
	args := append([]string{"-listen", local(cache), "-origin", "http://" + local(port)}, c.flags...)
	edge, err := listening(ctx, cache, "", nil, b.edge, args...)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, failed := edge.end()
		err = errors.Join(err, failed)
		if b.keep != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(b.keep, c.name+".log"), edge.errs.Bytes(), 0o600))
		}
	}()
	return nil, do(cache)
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// origin starts the suite's own origin, which plays what its client has told it to.
func (b *bench) origin(ctx context.Context, port int) (*process, error) {
	env := []string{
		"npm_config_protocol=http",
		"npm_config_port=" + strconv.Itoa(port),
		"npm_config_pidfile=" + os.DevNull, // it insists on writing one
	}
	return listening(ctx, port, b.suite.folder, env, "node", "--no-warnings", filepath.Join("server", "server.mjs"))
}

// client runs the suite's client: all tests, or one with what it saw.
func (b *bench) client(ctx context.Context, cache int, id string) ([]byte, error) {
	env := []string{"npm_config_base=http://" + local(cache), "npm_config_id=" + id, "npm_package_config_id="}
	return command(ctx, b.suite.folder, env, "node", "--no-warnings", "cli.mjs")
}
