package checks

import "syscall"

func statfs(path string) (volume, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return volume{}, err
	}
	unit := count(s.Frsize) // what blocks are counted in; Bsize is what is best to write at once
	if unit == 0 {
		unit = count(s.Bsize)
	}
	return volumeOf(unit, count(s.Blocks), count(s.Bfree), count(s.Bavail), count(s.Files), count(s.Ffree)), nil
}
