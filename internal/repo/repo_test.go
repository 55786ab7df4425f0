package repo_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// check is one rule. broken is a tree that breaks it and nothing else; want is part of what the
// rule then says. A rule that cannot be seen to fail does not belong here.
type check struct {
	name   string
	find   func(*tree) []string
	broken map[string]string
	want   []string
}

func checks() []check {
	var all []check

	all = append(all, importChecks()...)
	all = append(all, codeChecks()...)
	all = append(all, docChecks()...)

	return all
}

func TestRepository(t *testing.T) {
	if _, err := os.Stat("../../tools/go.mod"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this is a downloaded module, which lacks the nested modules that the documents link to")
	}

	repository, err := load(os.DirFS("../.."))
	require.NoError(t, err)
	require.NotEmpty(t, repository.code, "the walk found no Go file: it starts in the wrong place")

	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			for _, finding := range c.find(repository) {
				t.Error(finding)
			}
		})
	}
}

func TestEveryCheckFires(t *testing.T) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, text := range c.broken {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}

			broken, err := load(files)
			require.NoError(t, err)

			findings := c.find(broken)
			require.Len(t, findings, len(c.want), strings.Join(findings, "\n"))

			for i, want := range c.want {
				assert.Contains(t, findings[i], want)
			}
		})
	}
}
