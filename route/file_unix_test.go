//go:build unix

package route_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// To open a pipe would wait until somebody writes to it, and Close with it.
func TestBadInputFileIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	assert.ErrorContains(t, (<-updates(t, route.File(path))).err, "no regular file")
}
