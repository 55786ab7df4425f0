//go:build !linux && !darwin && !freebsd

package checks

import (
	"errors"
	"fmt"
	"runtime"
)

func statfs(string) (volume, error) {
	return volume{}, fmt.Errorf("it cannot be told on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
