//go:build unix

package spool_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

func TestOwnedBySomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := newFolder(t)
	dir.put("orders", "moving")
	require.NoError(t, os.Chown(filepath.Join(dir.path, "orders"), 12345, -1))
	s, err := dir.Status("orders", 0)
	require.ErrorIs(t, err, spool.ErrOwner)
	assert.ErrorContains(t, err, `spool: file "orders": owned by somebody else: user 12345`)
	assert.True(t, s.Down)
	assert.Equal(t, "moving", s.Reason)

	dir.put("orders", `{"reason": "mov`)
	_, err = dir.Status("orders", 0)
	require.ErrorIs(t, err, spool.ErrOwner)
	require.ErrorIs(t, err, spool.ErrContent, "one thing that is wrong does not hide another")

	dir.put("orders", `{"expiration": 1}`)
	s, err = dir.Status("orders", 0)
	require.ErrorIs(t, err, spool.ErrOwner)
	assert.False(t, s.Down)

	require.NoError(t, dir.Down("orders", 0, "mine", s.Until))
	_, err = dir.Status("orders", 0)
	require.NoError(t, err, "the file that replaces it is one's own")
}

// None of these is opened: the reason of a link would be what it leads to, and a
// pipe without a writer never ends.
func TestNoRegularFile(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a link":           func(path string) error { return os.Symlink("/etc/passwd", path) },
		"a link to naught": func(path string) error { return os.Symlink("nowhere", path) },
		"a folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			require.NoError(t, put(filepath.Join(dir.path, "orders")))
			s, err := dir.Status("orders", 80)
			require.ErrorIs(t, err, spool.ErrKind)
			assert.Equal(t, spool.Status{Service: "orders", Down: true}, s)
			require.NoError(t, dir.Up("orders", 0))
			assert.False(t, dir.status("orders", 80).Down)
		})
	}
}

func TestMayNotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := newFolder(t)
	dir.put("orders", "moving")
	require.NoError(t, os.Chmod(filepath.Join(dir.path, "orders"), 0))
	s, err := dir.Status("orders", 0)
	require.ErrorIs(t, err, os.ErrPermission)
	assert.True(t, s.Down)

	require.NoError(t, os.Chmod(dir.path, 0))
	t.Cleanup(func() { _ = os.Chmod(dir.path, 0o700) })
	s, err = dir.Status("orders", 0)
	require.ErrorIs(t, err, os.ErrPermission)
	assert.False(t, s.Down, "nobody knows whether there is a file")
}
