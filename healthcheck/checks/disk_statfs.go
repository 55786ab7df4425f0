//go:build linux || darwin || freebsd

package checks

import "math"

// count returns what a system tells of a file system, which has another type on each
// of them. FreeBSD says by a negative number that root has begun on its reserve.
func count[T int32 | int64 | uint32 | uint64](n T) int64 {
	if n < 0 {
		return 0
	}
	return int64(min(uint64(n), math.MaxInt64))
}

// volumeOf counts as df does: what is reserved for root is neither free nor used.
func volumeOf(unit, blocks, free, available, inodes, freeInodes int64) volume {
	return volume{
		free: times(available, unit), total: times(blocks-free+available, unit),
		freeInodes: freeInodes, allInodes: inodes,
	}
}

// times multiplies what file systems tell, who may tell anything.
func times(blocks, unit int64) int64 {
	if unit > 0 && blocks > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return blocks * unit
}
