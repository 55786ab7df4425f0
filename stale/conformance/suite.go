package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// suiteName is the package on npm, with the version that the page is about.
const suiteName, suiteVersion = "http-cache-tests", "0.4.5"

//go:embed tests.mjs
var listTests string

// suite is an installed suite.
type suite struct {
	folder string
	tests  map[string]test
}

// install has npm put the suite into the folder temp, or takes it from another one.
// Scripts of packages are not run: the suite needs none.
func install(ctx context.Context, temp, from string, out io.Writer) (*suite, error) {
	if from == "" {
		from = temp
		_, _ = fmt.Fprintf(out, "installing %s %s\n", suiteName, suiteVersion)
		if _, err := command(ctx, temp, nil, "npm", "install", "--prefix", temp, "--omit=dev", "--ignore-scripts",
			"--no-audit", "--no-fund", "--no-update-notifier", suiteName+"@"+suiteVersion); err != nil {
			return nil, err
		}
	}
	s := &suite{folder: filepath.Join(from, "node_modules", suiteName)}
	if err := s.checkVersion(); err != nil {
		return nil, err
	}
	script := filepath.Join(temp, "tests.mjs")
	if err := os.WriteFile(script, []byte(listTests), 0o600); err != nil {
		return nil, err
	}
	text, err := command(ctx, temp, nil, "node", script, s.folder)
	if err != nil {
		return nil, err
	}
	var list []test
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("the list of tests: %w", err)
	}
	s.tests = make(map[string]test, len(list))
	for _, t := range list {
		s.tests[t.ID] = t
	}
	return s, nil
}

func (s *suite) checkVersion() error {
	text, err := os.ReadFile(filepath.Join(s.folder, "package.json"))
	if err != nil {
		return err
	}
	var about struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return fmt.Errorf("package.json of the suite: %w", err)
	}
	if about.Version != suiteVersion {
		return fmt.Errorf("%s has version %s, and the page is about %s", s.folder, about.Version, suiteVersion)
	}
	return nil
}
