package spool_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

// bubble runs test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// folder is a Dir and the path of it.
type folder struct {
	*spool.Dir

	t    *testing.T
	path string
}

func newFolder(t *testing.T) folder {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spool")
	dir, err := spool.New(path)
	require.NoError(t, err)
	return folder{dir, t, path}
}

// put writes a file as somebody else would.
func (f folder) put(name, content string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(filepath.Join(f.path, name), []byte(content), 0o644))
}

func (f folder) content(name string) string {
	f.t.Helper()
	content, err := os.ReadFile(filepath.Join(f.path, name))
	require.NoError(f.t, err)
	return string(content)
}

// status is Status where nothing is wrong.
func (f folder) status(service string, port int) spool.Status {
	f.t.Helper()
	s, err := f.Status(service, port)
	require.NoError(f.t, err)
	return s
}
