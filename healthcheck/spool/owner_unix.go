//go:build unix

package spool

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags keep from following a link, and from waiting for who writes to a pipe
// that has taken the place of a file.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// checkOwner returns an error if a file belongs to neither root nor this process's
// user.
func checkOwner(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int64(stat.Uid) == int64(os.Geteuid()) {
		return nil
	}
	return fmt.Errorf("%w: user %d, neither root nor user %d", ErrOwner, stat.Uid, os.Geteuid())
}

// openToAll reports whether everybody may put files into a directory.
func openToAll(info fs.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }
