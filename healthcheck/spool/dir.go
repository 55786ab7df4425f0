package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Dir is a directory in which files say what is down. It holds nothing in memory:
// several, and other processes, may work on one directory at once.
type Dir struct {
	path string
}

// Status is whether a service is down, and the file that says so.
type Status struct {
	// Service and Port are those of the file: All where everything is down, and
	// port 0 where it is down on all ports. Of a service that is up they are what
	// was asked for.
	Service string
	Port    int

	Down   bool
	Reason string    // one line, possibly empty
	Since  time.Time // when it was taken down; zero if the file does not say
	Until  time.Time // when it comes back by itself; zero if it does not
}

// New returns the Dir of a path. A directory that is missing is made, for its owner
// to write to and its group to read, if its parent is there.
func New(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("spool: the path is empty")
	}
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("spool: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("spool: %s is no directory", path)
	case openToAll(info):
		return nil, fmt.Errorf("spool: everybody may write to %s, and take down any service", path)
	}
	if _, err := os.ReadDir(path); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &Dir{path}, nil
}

// Down takes a service down, on one port or, where port is 0, on all of them; All is
// every service. It comes back at until, or where that is zero when Up is called. If
// it is down for that reason already, since when is kept.
func (d *Dir) Down(service string, port int, reason string, until time.Time) error {
	file, err := Name(service, port)
	if err != nil {
		return err
	}
	now := time.Now()
	if !until.IsZero() && (!until.After(now) || until.Unix() >= farthest) {
		return fmt.Errorf("spool: %s would be down until %v, which is past or too far", file, until)
	}
	e := entry{clean(reason), now, until}
	before, found, _ := d.read(file) // a bad file is what this one replaces
	if found && !before.expired(now) && before.reason == e.reason && !before.since.IsZero() {
		e.since = before.since
	}
	content, err := e.encode()
	if err == nil {
		err = d.write(file, content)
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// write puts a file in the place of what is there, so that nobody reads half of it.
func (d *Dir) write(file string, content []byte) (err error) {
	tmp, err := os.CreateTemp(d.path, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(content)
	// The others who are to read it run as users of their own.
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(d.path, file))
}

// Up takes back what Down has done with the same service and port. Other files may
// still say that it is down. Nothing is wrong if it was not down.
func (d *Dir) Up(service string, port int) error {
	file, err := Name(service, port)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.path, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Status returns whether a service is down on a port, by a file of its own, one for
// all of its ports, or All. The status holds also when there is an error: see the
// package's documentation.
func (d *Dir) Status(service string, port int) (Status, error) {
	s, _, err := d.status(service, port)
	return s, err
}

// status also returns whether the directory has said anything.
func (d *Dir) status(service string, port int) (s Status, known bool, err error) {
	s = Status{Service: service, Port: port}
	file, err := Name(service, port)
	if err != nil {
		return s, false, err
	}
	var errs []error
	files := []string{All, service, file}
	for i, of := range []Status{{Service: All}, {Service: service}, s} {
		e, found, err := d.read(files[i])
		if err != nil && !found {
			return s, false, fmt.Errorf("spool: %w", err)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if found && !e.expired(time.Now()) {
			return of.down(e), true, errors.Join(errs...)
		}
	}
	if _, err := os.Stat(d.path); err != nil { // no file is found in no directory, either
		return s, false, fmt.Errorf("spool: %w", err)
	}
	return s, true, errors.Join(errs...)
}

func (s Status) down(e entry) Status {
	s.Down, s.Reason, s.Since, s.Until = true, e.reason, e.since, e.until
	return s
}

// List returns everything that is down, by file name, and what is wrong with any
// file.
func (d *Dir) List() ([]Status, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var down []Status
	var errs []error
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") {
			continue
		}
		var s Status
		if s.Service, s.Port, err = Split(file.Name()); err != nil {
			errs = append(errs, &FileError{file.Name(), ErrName})
			continue
		}
		e, found, err := d.read(file.Name())
		if err != nil {
			errs = append(errs, err)
		}
		if found && !e.expired(time.Now()) {
			down = append(down, s.down(e))
		}
	}
	return down, errors.Join(errs...)
}

// read reads a file. There can be an error and a file that is found: then it is a
// FileError.
func (d *Dir) read(file string) (e entry, found bool, err error) {
	info, err := os.Lstat(filepath.Join(d.path, file))
	if errors.Is(err, fs.ErrNotExist) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	e, err = d.readFound(file, info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return entry{}, false, nil // removed since
	case err != nil:
		return e, true, &FileError{file, err}
	default:
		return e, true, nil
	}
}

func (d *Dir) readFound(file string, info fs.FileInfo) (e entry, err error) {
	if !info.Mode().IsRegular() {
		return e, ErrKind // to open it might do something
	}
	f, err := os.OpenFile(filepath.Join(d.path, file), os.O_RDONLY|openFlags, 0) //nolint:gosec // of this directory
	if err != nil {
		return e, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	if info, err = f.Stat(); err != nil {
		return e, err
	}
	if !info.Mode().IsRegular() {
		return e, ErrKind // since it was looked at
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
	case len(content) > maxFile:
		err = ErrTooLong
	default:
		e, err = parse(content)
	}
	return e, errors.Join(checkOwner(info), err)
}
