package spool

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParse holds the parser against encoding/json, and against itself: what it has
// made of a file it makes of its own file of that, too.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "moving", `{}`, `{"reason": "x", "expiration": 2524608000.5, "creation": 1700000000}`,
		`{"reason": "x", "expirat`, `{"reason": null, "expiration": "no"}`, `{"expiration": 1e300, "creation": -1}`,
		"\x1b[0m\xff", `{"expiration": 253402300799.9999999}`, `{"expiration": 1e999}`, `{"reason": "` + strings.Repeat("ä", 2000) + `"}`,
		`{"creation": 1e-7}`,                                    // which is 0 when it is written
		"\v{}", "{}\u00a0", `{"expiration": 4478259109.770373}`, // white space that is not JSON's; after 2106
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := parse(content)
		assert.LessOrEqual(t, len(e.reason), maxReason)
		assert.True(t, utf8.ValidString(e.reason))
		assert.Equal(t, -1, strings.IndexFunc(e.reason, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", e.reason)

		if model, ok := modelOf(content); ok {
			require.NoError(t, err)
			assert.Equal(t, clean(model.Reason), e.reason)
			switch {
			case model.Expiration == nil || *model.Expiration >= farthest:
				assert.True(t, e.until.IsZero())
			case *model.Expiration >= 0:
				assert.InDelta(t, *model.Expiration, float64(e.until.UnixMicro())/1e6, 1e-4)
			default:
				assert.Equal(t, int64(0), e.until.Unix())
			}
		} else if strings.HasPrefix(strings.TrimSpace(string(content)), "{") {
			require.ErrorIs(t, err, ErrContent)
		} else {
			require.NoError(t, err)
		}

		again, err := e.encode()
		require.NoError(t, err)
		back, err := parse(again)
		require.NoError(t, err)
		assert.Equal(t, e.reason, back.reason)
		assert.True(t, e.until.Equal(back.until), "%v %v", e.until, back.until)
		assert.True(t, e.since.Equal(back.since), "%v %v", e.since, back.since)
	})
}

type model struct {
	Reason     string
	Expiration *float64
	Creation   *float64
}

// modelOf returns what a well-formed file says.
func modelOf(content []byte) (m model, ok bool) {
	var fields map[string]any
	content = bytes.TrimSpace(content) // of more than what JSON takes for white space
	if !json.Valid(content) {
		return m, false
	}
	numbers := json.NewDecoder(bytes.NewReader(content))
	numbers.UseNumber() // or one that is too large fails the file, in a field that nobody reads too
	if numbers.Decode(&fields) != nil || fields == nil {
		return m, false
	}
	number := func(name string, to **float64) bool {
		switch v := fields[name].(type) {
		case nil:
			return true
		case json.Number:
			value, err := v.Float64()
			*to = &value
			return err == nil
		default:
			return false
		}
	}
	switch v := fields["reason"].(type) {
	case nil:
	case string:
		m.Reason = v
	default:
		return m, false
	}
	return m, number("expiration", &m.Expiration) && number("creation", &m.Creation)
}

// FuzzName holds that a name leads to one file in the directory or to none, and back
// to what it was made of.
func FuzzName(f *testing.F) {
	f.Add("orders", 80)
	f.Add("..", 0)
	f.Add("../../etc/passwd", 0)
	f.Add("a:80", 80)
	f.Add("all", 1)
	f.Add(".hidden", 0)
	f.Add("a\x00", 65536)
	f.Fuzz(func(t *testing.T, service string, port int) {
		name, err := Name(service, port)
		if err != nil {
			return
		}
		assert.True(t, filepath.IsLocal(name))
		assert.Equal(t, "/spool/"+name, filepath.Join("/spool", name))
		assert.False(t, strings.ContainsAny(name, "/\\\x00"))
		assert.LessOrEqual(t, len(name), 255)
		s, p, err := Split(name)
		require.NoError(t, err)
		assert.Equal(t, service, s)
		assert.Equal(t, port, p)
	})
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"orders", "orders:80", "a:080", "a:+1", ":", "a::1", "all:1", "..:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		service, port, err := Split(name)
		if err != nil {
			require.ErrorIs(t, err, ErrName)
			return
		}
		again, err := Name(service, port)
		require.NoError(t, err)
		assert.Equal(t, name, again)
	})
}

// A clock that is set cannot be had in a bubble: this is the comparison alone.
func TestWallClockIsSet(t *testing.T) {
	dir, err := New(filepath.Join(t.TempDir(), "spool"))
	require.NoError(t, err)
	require.NoError(t, dir.Down("orders", 0, "", time.Now().Add(time.Hour)))
	s, err := dir.Status("orders", 0)
	require.NoError(t, err)
	now := time.Now()
	for off, want := range map[time.Duration]bool{
		0: true, time.Millisecond: true, -900 * time.Millisecond: true, 2 * time.Second: false, -2 * time.Second: false, time.Hour: false,
	} {
		f := follower{dir: dir, set: s, end: now.Add(time.Hour + off)}
		assert.Equal(t, want, f.agrees(s, now), off)
	}
	require.NoError(t, os.RemoveAll(dir.path))
}
