package route_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// most is how long a file is not looked at, at most.
const most = 1200 * time.Millisecond

// watched is a file that a Resolver watches, in virtual time.
type watched struct {
	t    *testing.T
	path string
	all  <-chan update
}

func watch(t *testing.T, content string) *watched {
	t.Helper()
	w := &watched{t: t, path: filepath.Join(t.TempDir(), "hosts.json")}
	w.write(content)
	w.all = updates(t, route.File(w.path))
	return w
}

func (w *watched) write(content string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.path, []byte(content), 0o600))
}

// next returns what is said within the time that it may take, as text.
func (w *watched) next() string {
	w.t.Helper()
	time.Sleep(most)
	synctest.Wait()
	var said []string
	for len(w.all) > 0 {
		u := <-w.all
		if u.err != nil {
			assert.Empty(w.t, u.hosts)
			assert.ErrorContains(w.t, u.err, w.path)
			said = append(said, "error: "+u.err.Error())
			continue
		}
		var addrs []string
		for _, h := range u.hosts {
			addrs = append(addrs, h.Addr)
		}
		said = append(said, strings.Join(addrs, " "))
	}
	return strings.Join(said, "; ")
}

const one, two = `[{"addr": "a:1"}]`, `[{"addr": "a:1"}, {"addr": "b:2"}]`

func TestRequirement2FileWatched(t *testing.T) {
	bubble(t, "changes are seen, and only these", func(t *testing.T) {
		w := watch(t, one)
		synctest.Wait()
		assert.Len(t, w.all, 1, "at once")
		assert.Equal(t, "a:1", w.next())
		assert.Empty(t, w.next())
		w.write(two)
		assert.Equal(t, "a:1 b:2", w.next())
		w.write(two)
		time.Sleep(time.Minute)
		assert.Empty(t, w.next())
	})
	bubble(t, "of the same size at the same time", func(t *testing.T) {
		w := watch(t, one)
		info, err := os.Stat(w.path)
		require.NoError(t, err)
		assert.Equal(t, "a:1", w.next())
		w.write(strings.ReplaceAll(one, "a:1", "b:2"))
		require.NoError(t, os.Chtimes(w.path, info.ModTime(), info.ModTime()))
		assert.Equal(t, "b:2", w.next())
	})
	bubble(t, "renamed to its name", func(t *testing.T) {
		w := watch(t, one)
		assert.Equal(t, "a:1", w.next())
		require.NoError(t, os.WriteFile(w.path+".new", []byte(two), 0o600))
		require.NoError(t, os.Rename(w.path+".new", w.path))
		assert.Equal(t, "a:1 b:2", w.next())
	})
	bubble(t, "behind a link, as Kubernetes mounts it", func(t *testing.T) {
		dir := t.TempDir()
		for name, content := range map[string]string{"v1": one, "v2": two} {
			require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, "hosts.json"), []byte(content), 0o600))
		}
		link := filepath.Join(dir, "data")
		require.NoError(t, os.Symlink("v1", link))
		w := &watched{t: t, path: filepath.Join(link, "hosts.json")}
		w.all = updates(t, route.File(w.path))
		assert.Equal(t, "a:1", w.next())
		require.NoError(t, os.Symlink("v2", link+".new"))
		require.NoError(t, os.Rename(link+".new", link))
		assert.Equal(t, "a:1 b:2", w.next())
	})
	bubble(t, "not all at once", func(t *testing.T) {
		w := watch(t, one)
		begun := time.Now()
		seen := make(map[time.Duration]bool)
		for range 20 {
			w.write(two)
			w.next()
			w.write(one)
			for before := len(w.all); len(w.all) == before; {
				time.Sleep(time.Millisecond)
				synctest.Wait()
			}
			<-w.all
			seen[time.Since(begun)%time.Second] = true
		}
		assert.Greater(t, len(seen), 10)
	})
}

// A file that is no good is an error, once for each content, and what was good is not
// forgotten by the Pool.
func TestBadInputFileWatched(t *testing.T) {
	bubble(t, "cut off", func(t *testing.T) {
		w := watch(t, one)
		assert.Equal(t, "a:1", w.next())
		for at := range len(two) {
			w.write(two[:at])
			assert.Contains(t, w.next(), "cut off")
			assert.Empty(t, w.next(), "once")
		}
		w.write(two)
		assert.Equal(t, "a:1 b:2", w.next())
	})
	bubble(t, "gone, and back", func(t *testing.T) {
		w := watch(t, one)
		assert.Equal(t, "a:1", w.next())
		require.NoError(t, os.Remove(w.path))
		assert.Equal(t, "error: route: File: "+w.path+": no such file or directory", w.next())
		assert.Empty(t, w.next(), "once")
		w.write(one)
		assert.Equal(t, "a:1", w.next())
	})
	bubble(t, "never there", func(t *testing.T) {
		w := &watched{t: t, path: filepath.Join(t.TempDir(), "hosts.json")}
		w.all = updates(t, route.File(w.path))
		assert.Contains(t, w.next(), "no such file")
		w.write(one)
		assert.Equal(t, "a:1", w.next())
	})
	bubble(t, "without hosts", func(t *testing.T) {
		w := watch(t, one)
		assert.Equal(t, "a:1", w.next())
		w.write("[]")
		assert.Contains(t, w.next(), "it lists no hosts")
	})
	bubble(t, "a folder", func(t *testing.T) {
		path := t.TempDir()
		assert.ErrorContains(t, (<-updates(t, route.File(path))).err, "no regular file")
	})
	bubble(t, "too large", func(t *testing.T) {
		w := watch(t, one+strings.Repeat(" ", 1<<20-len(one)))
		assert.Equal(t, "a:1", w.next(), "as large as it may be")
		w.write(one + strings.Repeat(" ", 1<<20-len(one)+1))
		assert.Contains(t, w.next(), "more than 1048576 bytes")
	})
	bubble(t, "a Pool keeps what it has, and says so", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "hosts.json")
		require.NoError(t, os.WriteFile(path, []byte(two), 0o600))
		var events eventLog
		pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: route.File(path), Observe: events.observe})
		defer pool.Close(t.Context())
		time.Sleep(most)
		require.NoError(t, os.WriteFile(path, []byte(two[:len(one)]), 0o600))
		time.Sleep(time.Minute)
		require.NoError(t, os.WriteFile(path, []byte(one), 0o600))
		time.Sleep(most)
		synctest.Wait()
		assert.Equal(t, []string{"added a:1", "added b:2", "resolve failed", "removed b:2"}, events.all())
		assert.Equal(t, []string{"a:1"}, addrs(pool))
	})
}
