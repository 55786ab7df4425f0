package checks_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

func TestDisk(t *testing.T) {
	t.Run("a real one", func(t *testing.T) {
		res := checks.Disk(t.TempDir(), checks.Space{Warn: checks.Off, Fail: checks.Off})(t.Context())
		switch runtime.GOOS {
		case "linux", "darwin", "freebsd":
		default:
			assert.ErrorIs(t, res.Err, errors.ErrUnsupported)
			return
		}
		assert.Equal(t, healthcheck.Pass, res.Status, "%v", res.Err)
		assert.Equal(t, "%", res.Unit)
		assert.Greater(t, res.Observed, 0.0)
		assert.LessOrEqual(t, res.Observed, 100.0)

		res = checks.Disk(t.TempDir(), checks.Space{FailBytes: 1 << 62})(t.Context())
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Regexp(t, `^[0-9.]+% of the space is free$`, res.Public)

		missing := filepath.Join(t.TempDir(), "none")
		res = finds(t, checks.Disk(missing, checks.Space{}), healthcheck.Fail, nil, "")
		assert.ErrorIs(t, res.Err, os.ErrNotExist)
		assert.ErrorContains(t, res.Err, missing)
	})
	t.Run("bad input", func(t *testing.T) {
		refuses(t, checks.Disk("", checks.Space{Warn: 0.1, Fail: 0.2}), "path is empty", "Space.Warn is 0.1, below Fail, 0.2")
		refuses(t, checks.Disk("/", checks.Space{Warn: 1.5}), "not in (0,1]")
		refuses(t, checks.Disk("/", checks.Space{Fail: -0.5}), "Space.Fail is -0.5")
		refuses(t, checks.Disk("/", checks.Space{WarnBytes: 1, FailBytes: 2}), "WarnBytes is 1, below FailBytes, 2")
		refuses(t, checks.Disk("/", checks.Space{WarnBytes: -1}), "-1 and 0 bytes")
		refuses(t, checks.Disk("/", checks.Space{FailBytes: -7}), "0 and -7 bytes")
	})
}
