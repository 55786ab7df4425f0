package spool_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck/spool"
)

func TestDownWritesWhatHacheckReads(t *testing.T) {
	bubble(t, "json", func(t *testing.T) {
		dir := newFolder(t)
		require.NoError(t, dir.Down("orders", 8080, " moving\nhouse ", time.Now().Add(time.Hour)))
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(dir.content("orders:8080")), &fields))
		assert.Equal(t, map[string]any{
			"reason":     "moving house",
			"expiration": float64(time.Now().Add(time.Hour).Unix()),
			"creation":   float64(time.Now().Unix()),
		}, fields)

		require.NoError(t, dir.Down("orders", 0, "", time.Time{}))
		assert.JSONEq(t, `{"reason": "", "expiration": null, "creation": 946684800}`, dir.content("orders"))

		info, err := os.Stat(filepath.Join(dir.path, "orders"))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "hacheck runs as another user")
		files, err := os.ReadDir(dir.path)
		require.NoError(t, err)
		assert.Len(t, files, 2, "no temporary file is left")
	})
}

func TestStatusReadsWhatIsThere(t *testing.T) {
	const soon, past = "2524608000", "1" // 2050 and 1970
	since, until := time.Unix(1700000000, 250000000), time.Unix(2524608000, 0)
	for name, c := range map[string]struct {
		content string
		want    spool.Status
		err     error
	}{
		"hacheck's":          {`{"reason": "moving", "expiration": ` + soon + `.0, "creation": 1700000000.25}`, spool.Status{Down: true, Reason: "moving", Since: since, Until: until}, nil},
		"never ends":         {`{"reason": "moving", "expiration": null, "creation": 1700000000.25}`, spool.Status{Down: true, Reason: "moving", Since: since}, nil},
		"more than it needs": {`{"service": "orders", "reason": "x", "expiration": null, "creation": null, "host": 1}`, spool.Status{Down: true, Reason: "x"}, nil},
		"less than it needs": {`{}`, spool.Status{Down: true}, nil},
		"other letters":      {`{"Reason": "x"}`, spool.Status{Down: true}, nil},
		"expired":            {`{"reason": "x", "expiration": ` + past + `}`, spool.Status{}, nil},
		"long expired":       {`{"expiration": -1e300}`, spool.Status{}, nil},
		"far away":           {`{"expiration": 1e300}`, spool.Status{Down: true}, nil},
		"from nowhere":       {`{"creation": -5}`, spool.Status{Down: true}, nil},
		"empty":              {"", spool.Status{Down: true}, nil},
		"the oldest format":  {"moving house\n", spool.Status{Down: true, Reason: "moving house"}, nil},
		"a number":           {"42", spool.Status{Down: true, Reason: "42"}, nil},
		"escape sequences":   {"\x1b[31mred\xff", spool.Status{Down: true, Reason: "[31mred\uFFFD"}, nil},

		"cut off":             {`{"reason": "moving", "expirat`, spool.Status{Down: true, Reason: `{"reason": "moving", "expirat`}, spool.ErrContent},
		"two":                 {`{}{}`, spool.Status{Down: true, Reason: `{}{}`}, spool.ErrContent},
		"expires in words":    {`{"reason": "x", "expiration": "tomorrow", "creation": 1700000000.25}`, spool.Status{Down: true, Reason: "x", Since: since}, spool.ErrContent},
		"a reason of numbers": {`{"reason": 1, "expiration": ` + soon + `}`, spool.Status{Down: true, Until: until}, spool.ErrContent},
		"too long":            {strings.Repeat("x", 64<<10+1), spool.Status{Down: true}, spool.ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			dir.put("orders", c.content)
			s, err := dir.Status("orders", 0)
			c.want.Service = "orders"
			assert.Equal(t, c.want, s)
			if c.err == nil {
				assert.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.err)
			bad, ok := errors.AsType[*spool.FileError](err)
			require.True(t, ok)
			assert.Equal(t, "orders", bad.File)
			assert.Contains(t, err.Error(), `spool: file "orders": `)
		})
	}
}

// However much of a file is there, the service is down, and one that is cut off is
// an error.
func TestCutOffAnywhere(t *testing.T) {
	dir := newFolder(t)
	require.NoError(t, dir.Down("orders", 0, "moving house", time.Now().Add(time.Hour)))
	whole := dir.content("orders")
	for n := range len(whole) {
		dir.put("orders", whole[:n])
		s, err := dir.Status("orders", 0)
		assert.True(t, s.Down, whole[:n])
		if n > 0 {
			assert.ErrorIs(t, err, spool.ErrContent, whole[:n])
		}
	}
}

func TestReasonIsBounded(t *testing.T) {
	dir := newFolder(t)
	require.NoError(t, dir.Down("orders", 0, strings.Repeat("ä", 600), time.Time{}))
	assert.Equal(t, strings.Repeat("ä", 512), dir.status("orders", 0).Reason)
}

func TestWhichFileCounts(t *testing.T) {
	dir := newFolder(t)
	down := func(service string, port int) {
		t.Helper()
		require.NoError(t, dir.Down(service, port, "by "+service, time.Time{}))
	}
	which := func(service string, port int) spool.Status {
		s := dir.status(service, port)
		s.Since = time.Time{}
		return s
	}
	assert.Equal(t, spool.Status{Service: "orders", Port: 80}, which("orders", 80))
	down("orders", 80)
	assert.Equal(t, spool.Status{Service: "orders", Port: 80, Down: true, Reason: "by orders"}, which("orders", 80))
	assert.False(t, which("orders", 81).Down)
	assert.False(t, which("orders", 0).Down, "one port is not all of them")
	down("orders", 0)
	assert.Equal(t, spool.Status{Service: "orders", Down: true, Reason: "by orders"}, which("orders", 80))
	assert.True(t, which("orders", 81).Down)
	assert.False(t, which("order", 80).Down)
	down(spool.All, 0)
	assert.Equal(t, spool.Status{Service: spool.All, Down: true, Reason: "by all"}, which("order", 80))
	assert.Equal(t, spool.Status{Service: spool.All, Down: true, Reason: "by all"}, which(spool.All, 0))

	require.NoError(t, dir.Up(spool.All, 0))
	assert.False(t, which("order", 80).Down)
	require.NoError(t, dir.Up("orders", 0))
	assert.True(t, which("orders", 80).Down, "up takes back one file")
	require.NoError(t, dir.Up("orders", 80))
	require.NoError(t, dir.Up("orders", 80), "and is content if it was up")
	assert.False(t, which("orders", 80).Down)
}

func TestExpiry(t *testing.T) {
	bubble(t, "to the microsecond", func(t *testing.T) {
		dir := newFolder(t)
		require.NoError(t, dir.Down("orders", 0, "", time.Now().Add(time.Minute)))
		time.Sleep(time.Minute)
		assert.True(t, dir.status("orders", 0).Down, "hacheck counts the instant itself")
		time.Sleep(time.Microsecond)
		assert.False(t, dir.status("orders", 0).Down)
		assert.FileExists(t, filepath.Join(dir.path, "orders"), "reading changes nothing")
		down, err := dir.List()
		require.NoError(t, err)
		assert.Empty(t, down)
	})
	bubble(t, "hides nothing else", func(t *testing.T) {
		dir := newFolder(t)
		require.NoError(t, dir.Down(spool.All, 0, "", time.Now().Add(time.Second)))
		require.NoError(t, dir.Down("orders", 0, "for long", time.Time{}))
		time.Sleep(time.Minute)
		assert.Equal(t, "for long", dir.status("orders", 0).Reason)
	})
	bubble(t, "that makes no sense", func(t *testing.T) {
		dir := newFolder(t)
		assert.ErrorContains(t, dir.Down("orders", 0, "", time.Now()), "past or too far")
		assert.ErrorContains(t, dir.Down("orders", 0, "", time.Now().AddDate(9000, 0, 0)), "past or too far")
		assert.NoFileExists(t, filepath.Join(dir.path, "orders"))
	})
}

func TestDownAgain(t *testing.T) {
	bubble(t, "keeps since when, for the same reason", func(t *testing.T) {
		dir := newFolder(t)
		begin := time.Now()
		require.NoError(t, dir.Down("orders", 0, "moving", begin.Add(time.Minute)))
		time.Sleep(30 * time.Second)
		require.NoError(t, dir.Down("orders", 0, "moving", begin.Add(2*time.Minute)))
		s := dir.status("orders", 0)
		assert.True(t, s.Since.Equal(begin))
		assert.True(t, s.Until.Equal(begin.Add(2*time.Minute)))
		require.NoError(t, dir.Down("orders", 0, "fire", time.Time{}))
		assert.True(t, dir.status("orders", 0).Since.Equal(time.Now()), "another reason is another outage")
	})
	bubble(t, "not if it has expired", func(t *testing.T) {
		dir := newFolder(t)
		require.NoError(t, dir.Down("orders", 0, "moving", time.Now().Add(time.Minute)))
		time.Sleep(time.Hour)
		require.NoError(t, dir.Down("orders", 0, "moving", time.Time{}))
		assert.True(t, dir.status("orders", 0).Since.Equal(time.Now()))
	})
	bubble(t, "replaces a bad file", func(t *testing.T) {
		dir := newFolder(t)
		dir.put("orders", `{"reason": "mov`)
		require.NoError(t, dir.Down("orders", 0, "moving", time.Time{}))
		assert.Equal(t, "moving", dir.status("orders", 0).Reason)
	})
}

func TestNamesThatAreNone(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "spool")
	dir, err := spool.New(outside)
	require.NoError(t, err)
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "/etc/passwd", `..\x`, "a:b", "a\x00b", "-r", ".tmp-1", "a b", "ä",
		"a\n", strings.Repeat("a", 201),
	} {
		_, err = dir.Status(name, 0)
		assert.ErrorIs(t, err, spool.ErrName, name)
		assert.ErrorIs(t, dir.Down(name, 0, "", time.Time{}), spool.ErrName, name)
		assert.ErrorIs(t, dir.Up(name, 0), spool.ErrName, name)
	}
	for _, port := range []int{-1, 65536} {
		_, err = dir.Status("orders", port)
		assert.ErrorContains(t, err, "from 1 to 65535")
	}
	assert.ErrorContains(t, dir.Down(spool.All, 80, "", time.Time{}), "every port")
	files, err := os.ReadDir(filepath.Dir(outside))
	require.NoError(t, err)
	assert.Len(t, files, 1)
}

func TestList(t *testing.T) {
	dir := newFolder(t)
	down, err := dir.List()
	require.NoError(t, err)
	assert.Empty(t, down)

	dir.put("zoo", "late")
	dir.put("orders:80", `{"reason": "cut`)
	dir.put("all", "")
	dir.put("expired", `{"expiration": 1}`)
	dir.put(".tmp-1", "half")
	dir.put("orders:http", "")
	dir.put("orders:10.0.0.1:80", "")
	down, err = dir.List()
	assert.Equal(t, []spool.Status{
		{Service: "all", Down: true},
		{Service: "orders", Port: 80, Down: true, Reason: `{"reason": "cut`},
		{Service: "zoo", Down: true, Reason: "late"},
	}, down)
	require.ErrorIs(t, err, spool.ErrContent)
	require.ErrorIs(t, err, spool.ErrName)
	for _, file := range []string{`"orders:80"`, `"orders:http"`, `"orders:10.0.0.1:80"`} {
		assert.ErrorContains(t, err, file)
	}
}

func TestNew(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "spool")
	for range 2 { // the second time it is there
		_, err := spool.New(path)
		require.NoError(t, err)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o027, "not for others")

	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	everybodys := filepath.Join(parent, "everybodys")
	require.NoError(t, os.Mkdir(everybodys, 0o700))
	require.NoError(t, os.Chmod(everybodys, 0o777))
	for path, want := range map[string]string{
		"":                                  "the path is empty",
		filepath.Join(parent, "no", "such"): "no such file",
		file:                                "no directory",
		everybodys:                          "everybody may write",
	} {
		_, err := spool.New(path)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "spool: ")
	}
}

func TestDirectoryGone(t *testing.T) {
	dir := newFolder(t)
	require.NoError(t, os.Remove(dir.path))
	s, err := dir.Status("orders", 80)
	assert.Equal(t, spool.Status{Service: "orders", Port: 80}, s)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = dir.List()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, dir.Down("orders", 0, "", time.Time{}), os.ErrNotExist)
	require.NoError(t, dir.Up("orders", 0))

	require.NoError(t, os.WriteFile(dir.path, nil, 0o600)) // a file in its place
	_, err = dir.Status("orders", 80)
	require.Error(t, err)
	require.Error(t, dir.Up("orders", 0))
}

// Readers see the file before or the one after, and nothing in between.
func TestFilesAreReplacedAsAWhole(t *testing.T) {
	dir := newFolder(t)
	require.NoError(t, dir.Down("orders", 0, "a", time.Time{}))
	long := strings.Repeat("b", 1000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range 100 {
			assert.NoError(t, dir.Down("orders", 0, []string{"a", long}[i%2], time.Time{}))
		}
	})
	for range 1000 {
		s, err := dir.Status("orders", 0)
		require.NoError(t, err)
		require.True(t, s.Down)
		require.Contains(t, []string{"a", long}, s.Reason)
	}
	writer.Wait()
}

func TestNameAndSplit(t *testing.T) {
	for name, want := range map[string]struct {
		service string
		port    int
	}{"orders": {"orders", 0}, "orders:80": {"orders", 80}, "a.b_c-d:65535": {"a.b_c-d", 65535}, "all": {"all", 0}} {
		service, port, err := spool.Split(name)
		require.NoError(t, err)
		assert.Equal(t, want.service, service)
		assert.Equal(t, want.port, port)
	}
	for _, name := range []string{"", ":80", "a:", "a:0", "a:080", "a:+80", "a:-1", "a:65536", "a:b", "a:1:2", "all:80", "../a:80"} {
		_, _, err := spool.Split(name)
		assert.ErrorIs(t, err, spool.ErrName, name)
	}
}
