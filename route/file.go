package route

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// fileEvery is how often a file is read, fileMost how large it may be.
const (
	fileEvery = time.Second
	fileMost  = 1 << 20
)

// File returns a Resolver for the hosts that a JSON file lists. It reads the file every
// second or so. One that cannot be read, is cut off, is not valid in all of its
// entries, or lists no hosts, is an error, told once for each such content: the Pool
// keeps the hosts that it has. Who writes the file renames a complete one to its name.
//
// The file is a list of entries, or a map of them by any names. Each is of one of these
// shapes:
//
//	{"addr": "10.0.0.1:8080", "weight": 3, "zone": "a", "role": "primary"}
//	{"host": "10.0.0.1", "port": 8080, "name": "web1", "weight": 3, "labels": {"az": "a"}}
//	{"targets": ["10.0.0.1:8080"], "labels": {"zone": "a", "weight": "3", "role": "replica"}}
//
// The first is a Host. The second is what Nerve registers and Synapse writes, the third
// that of Prometheus, whose label __scheme__ counts as well. In both, the labels zone
// (or else az) and role mean what they do in a Host. Anything else is ignored.
// A host that is to get no requests is left out of the file: a weight of 0 is an error.
func File(path string) Resolver {
	return func(ctx context.Context, update func([]Host, error)) {
		var last fileState
		for {
			// It is read even if it looks unchanged: times of files are too coarse to tell two
			// changes in a row apart, and some tools set them to what they were.
			if now := readState(path); !now.is(&last) {
				last = now
				update(now.hosts())
			}
			if sleep(ctx, jittered(fileEvery)) != nil {
				return
			}
		}
	}
}

// fileState is what a file was found to be.
type fileState struct {
	path    string
	content []byte
	err     error
}

func readState(path string) fileState {
	content, err := readFile(path)
	return fileState{path: path, content: content, err: err}
}

// is reports whether nothing has changed. That of a file that was never read has no
// path.
func (s *fileState) is(other *fileState) bool {
	if s.path != other.path || (s.err == nil) != (other.err == nil) {
		return false
	}
	if s.err != nil {
		return s.err.Error() == other.err.Error()
	}
	return bytes.Equal(s.content, other.content)
}

func (s *fileState) hosts() (hosts []Host, err error) {
	if err = s.err; err == nil {
		hosts, err = parseHosts(s.content)
	}
	if err != nil {
		return nil, clipped(prefixed("route: File: "+s.path, err))
	}
	return hosts, nil
}

// mostText is how much is told of what is wrong with a file: it can be all of it.
const mostText = 4 << 10

func clipped(err error) error {
	text := err.Error()
	if len(text) <= mostText {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:mostText], "") + " ...")
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathless(err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, errors.New("it is no regular file")
	}
	file, err := os.Open(path) //nolint:gosec // it is the user's own config
	if err != nil {
		return nil, pathless(err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, fileMost+1))
	if err != nil {
		return nil, pathless(err)
	}
	if len(content) > fileMost {
		return nil, fmt.Errorf("it has more than %d bytes", fileMost)
	}
	return content, nil
}

// pathless is err without the path, which stands before it.
func pathless(err error) error {
	if in, ok := errors.AsType[*os.PathError](err); ok {
		return in.Err
	}
	return err
}
