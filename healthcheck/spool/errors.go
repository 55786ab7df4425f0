package spool

import (
	"errors"
	"fmt"
)

// What can be wrong with a file. The service is down all the same, except for
// ErrName.
var (
	ErrName    = errors.New("not the name of a service, or of one and its port")
	ErrContent = errors.New("cut off, or not what hacheck writes")
	ErrOwner   = errors.New("owned by somebody else")
	ErrKind    = errors.New("not a regular file")
	ErrTooLong = errors.New("longer than any that hacheck writes")
)

// FileError says that there is a file that is not as it should be.
type FileError struct {
	File string // its name in the directory
	Err  error  // one of the errors above, or of the file system
}

func (e *FileError) Error() string { return fmt.Sprintf("spool: file %q: %v", e.File, e.Err) }

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }
