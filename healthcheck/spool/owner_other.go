//go:build !unix

package spool

import "io/fs"

// Where there is no owner, the directory's permissions are all there is.
const openFlags = 0

func checkOwner(fs.FileInfo) error { return nil }

func openToAll(fs.FileInfo) bool { return false }
