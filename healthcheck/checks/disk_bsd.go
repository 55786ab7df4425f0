//go:build darwin || freebsd

package checks

import "syscall"

func statfs(path string) (volume, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return volume{}, err
	}
	return volumeOf(count(s.Bsize), count(s.Blocks), count(s.Bfree), count(s.Bavail), count(s.Files), count(s.Ffree)), nil
}
