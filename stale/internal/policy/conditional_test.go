package policy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

func TestPitfall8Validators(t *testing.T) {
	modified := "Last-Modified: " + at(-time.Hour)
	for _, tt := range []struct {
		stored []string
		want   []string
	}{
		{[]string{`Etag: "a"`}, []string{`If-None-Match: "a"`}},
		{[]string{`Etag: W/"a"`}, []string{`If-None-Match: W/"a"`}},
		{[]string{"Etag: a"}, []string{"If-None-Match: a"}},
		{[]string{modified}, []string{"If-Modified-Since: " + at(-time.Hour)}},
		{[]string{`Etag: "a"`, modified}, []string{`If-None-Match: "a"`, "If-Modified-Since: " + at(-time.Hour)}},
		{[]string{"Last-Modified: never"}, nil},
		{[]string{`Etag: "a"`, `Etag: "b"`}, nil},
		{[]string{"Etag: "}, nil},
		{nil, nil},
	} {
		into := header("If-Match: x", `If-None-Match: "x"`, "If-Modified-Since: x", "If-Unmodified-Since: x",
			"If-Range: x", "Range: bytes=0-1", "Accept: x")
		stored := header(tt.stored...)
		assert.Equal(t, tt.want != nil, policy.Validators(stored, into))
		assert.Equal(t, tt.want != nil, policy.HasValidator(stored))
		assert.Equal(t, header(append(tt.want, "Accept: x")...), into)
	}
}

func TestPitfall8NotModified(t *testing.T) {
	tag, modified, date := `Etag: "a"`, "Last-Modified: "+at(-time.Hour), "Date: "+at(0)
	since := func(d time.Duration) string { return "If-Modified-Since: " + at(d) }
	for _, tt := range []struct {
		name   string
		req    []string
		stored []string
		want   bool
	}{
		{"no condition", nil, []string{tag, modified}, false},
		{"same tag", []string{`If-None-Match: "a"`}, []string{tag}, true},
		{"first of several", []string{`If-None-Match: "a", "b", "c"`}, []string{tag}, true},
		{"last of several", []string{`If-None-Match: "b","c" ,"a"`}, []string{tag}, true},
		{"on another line", []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, []string{tag}, true},
		{"other tag", []string{`If-None-Match: "b"`}, []string{tag}, false},
		{"part of another tag", []string{`If-None-Match: "b, \"a\""`}, []string{tag}, false},
		{"a comma in the tag", []string{`If-None-Match: "b,a", "c"`}, []string{`Etag: "b,a"`}, true},
		{"a backslash in the tag", []string{`If-None-Match: "b\", "c"`}, []string{`Etag: "c"`}, true},
		{"weak and strong", []string{`If-None-Match: W/"a"`}, []string{tag}, true},
		{"strong and weak", []string{`If-None-Match: "a"`}, []string{`Etag: W/"a"`}, true},
		{"star", []string{"If-None-Match: *"}, nil, true},
		{"case counts", []string{`If-None-Match: "A"`}, []string{tag}, false},
		{"without quotes", []string{"If-None-Match: a"}, []string{"Etag: a"}, true},
		{"with and without quotes", []string{"If-None-Match: a"}, []string{tag}, false},
		{"bytes past ASCII", []string{"If-None-Match: \"\xfc\""}, []string{"Etag: \"\xfc\""}, true},
		{"no tag stored", []string{`If-None-Match: "a"`}, []string{modified}, false},
		{"empty", []string{"If-None-Match: "}, nil, false},

		{"same date", []string{since(-time.Hour)}, []string{modified}, true},
		{"later date", []string{since(0)}, []string{modified}, true},
		{"earlier date", []string{since(-2 * time.Hour)}, []string{modified}, false},
		{"tag beats date", []string{`If-None-Match: "b"`, since(0)}, []string{tag, modified}, false},
		{"tag beats date, matching", []string{`If-None-Match: "a"`, since(-2 * time.Hour)}, []string{tag, modified}, true},
		{"old form", []string{"If-Modified-Since: Sunday, 01-Mar-26 11:00:00 GMT"}, []string{modified}, true},
		{"invalid", []string{"If-Modified-Since: x"}, []string{modified}, false},
		{"two", []string{since(0), since(0)}, []string{modified}, false},
		{"Date for want of Last-Modified", []string{since(0)}, []string{date}, true},
		{"Date for want of Last-Modified, earlier", []string{since(-time.Second)}, []string{date}, false},
		{"an invalid Last-Modified is not replaced", []string{since(0)}, []string{date, "Last-Modified: x"}, false},
		{"nothing stored", []string{since(0)}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, policy.NotModified(header(tt.req...), header(tt.stored...), http.StatusOK))
			assert.False(t, policy.NotModified(header(tt.req...), header(tt.stored...), http.StatusNotFound))
		})
	}
}

func TestHeader304(t *testing.T) {
	stored := header(`Etag: "a"`, "Last-Modified: x", "Content-Type: x", "Content-Length: 3", "Content-Encoding: gzip",
		"Content-Language: en", "Content-Range: x", "Content-Md5: x", "Cache-Control: x", "Content-Location: /x", "Date: x",
		"Expires: x", "Vary: x", "Set-Cookie: a", "Content-Security-Policy: x", "Other: x")
	assert.Equal(t, header(`Etag: "a"`, "Cache-Control: x", "Content-Location: /x", "Date: x", "Expires: x", "Vary: x",
		"Set-Cookie: a", "Content-Security-Policy: x", "Other: x"), policy.Header304(stored))
	assert.Len(t, stored, 16)
	assert.Equal(t, header("Last-Modified: x"), policy.Header304(header("Last-Modified: x")), "for want of a tag")
}

func TestPitfall9SameRepresentation(t *testing.T) {
	tag, modified := `Etag: "a"`, "Last-Modified: "+at(-time.Hour)
	for _, tt := range []struct {
		name           string
		stored, update []string
		want           bool
	}{
		{"nothing said", []string{tag, modified}, nil, true},
		{"same tag", []string{tag, modified}, []string{tag}, true},
		{"same tag, other date", []string{tag, modified}, []string{tag, "Last-Modified: " + at(0)}, true},
		{"other tag", []string{tag, modified}, []string{`Etag: "b"`, modified}, false},
		{"other tag, asked by tag only", []string{tag}, []string{`Etag: "b"`}, true},
		{"weak for strong", []string{tag, modified}, []string{`Etag: W/"a"`}, true},
		{"other weak one", []string{tag, modified}, []string{`Etag: W/"b"`}, false},
		{"strong for weak", []string{`Etag: W/"a"`, modified}, []string{tag}, false},
		{"a tag where there was none", []string{modified}, []string{tag, modified}, false},
		{"same date", []string{modified}, []string{modified}, true},
		{"same date in the old form", []string{modified}, []string{"Last-Modified: Sunday, 01-Mar-26 11:00:00 GMT"}, true},
		{"other date", []string{modified}, []string{"Last-Modified: " + at(0)}, false},
		{"other date, tag left out", []string{tag, modified}, []string{"Last-Modified: " + at(0)}, false},
		{"a date where there was none", []string{tag}, []string{modified}, true},
		{"the same invalid date", []string{tag, "Last-Modified: x"}, []string{"Last-Modified: x"}, true},
		{"another invalid date", []string{tag, "Last-Modified: x"}, []string{"Last-Modified: y"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, policy.SameRepresentation(header(tt.stored...), header(tt.update...)))
		})
	}
}

func TestPitfall9Merge(t *testing.T) {
	body := []string{
		"Content-Length: 5", "Content-Encoding: gzip", "Content-Md5: x", "Content-Range: x", `Etag: "a"`,
		"Content-Digest: x", "Repr-Digest: x",
	}
	stored := header(append(body, "Date: old", "Age: 9", "Expires: old", "Cache-Control: max-age=1", "Cache-Control: public",
		"Only-Stored: 1", "Both: 1", "Set-Cookie: a=b", "Content-Type: text/plain")...)
	update := header("Content-Length: 0", "Content-Encoding: br", "Content-Md5: y", "Content-Range: y", `Etag: W/"b"`,
		"Content-Digest: y", "Repr-Digest: y", "Date: new", "Cache-Control: max-age=2", "Both: 2", "Only-Update: 2", "Set-Cookie: a=c",
		"Content-Type: text/html", "Content-Location: /b", "Connection: Hop", "Hop: 1", "Keep-Alive: 1", "Transfer-Encoding: chunked")
	was, is := stored.Clone(), update.Clone()

	want := header(append(body, "Date: new", "Expires: old", "Cache-Control: max-age=2", "Only-Stored: 1", "Both: 2",
		"Only-Update: 2", "Set-Cookie: a=c", "Content-Type: text/html", "Content-Location: /b")...)
	assert.Equal(t, want, policy.Merge(stored, update))
	assert.Equal(t, want, policy.Rules{}.Merge(stored, update))
	assert.Equal(t, want, policy.Rules{Shared: true, StoreSetCookie: true}.Merge(stored, update))
	want.Del("Set-Cookie")
	assert.Equal(t, want, policy.Rules{Shared: true}.Merge(stored, update))
	assert.Equal(t, was, stored)
	assert.Equal(t, is, update)

	assert.Empty(t, policy.Merge(header("Date: x", "Age: 1"), nil), "the age of the old answer does not outlive it")
	assert.Equal(t, header("Age: 3"), policy.Merge(header("Age: 1"), header("Age: 3")))
}

func TestPitfall9FieldsOfA304MayDropWhatIsStored(t *testing.T) {
	stored := header(`Etag: "a"`, "Cache-Control: max-age=60")
	for line, want := range map[string]policy.Reason{
		"Cache-Control: no-store":            policy.NoStore,
		"Cache-Control: private, max-age=60": policy.Private,
		"Vary: *":                            policy.VaryAny,
		"X: y":                               policy.None,
		"Set-Cookie: a=b":                    policy.None,
	} {
		merged := shared.Merge(stored, header(line))
		assert.Equal(t, want, policy.Read(shared, http.MethodGet, nil, 200, merged, noon, noon).Reason, line)
	}
}

func TestPitfall7UpdateFromHead(t *testing.T) {
	stored := header(`Etag: "a"`, "Last-Modified: x", "Content-Length: 5", "A: 1", "B: 1")
	for _, line := range []string{`Etag: "b"`, "Last-Modified: y", "Content-Length: 6"} {
		_, ok := policy.UpdateFromHead(stored, header(line))
		assert.False(t, ok, line)
	}
	got, ok := policy.UpdateFromHead(stored, header(`Etag: "a"`, "Content-Length: 5", "A: 2", "C: 2"))
	require.True(t, ok)
	assert.Equal(t, header(`Etag: "a"`, "Last-Modified: x", "Content-Length: 5", "A: 2", "B: 1", "C: 2"), got)
	got, ok = policy.UpdateFromHead(header("A: 1"), header(`Etag: "b"`, "A: 2"))
	require.True(t, ok, "there is nothing to compare")
	assert.Equal(t, header("A: 2"), got, "and the tag is not known to be the stored one's")
}

func TestStripHopByHop(t *testing.T) {
	h := header("Connection: a, B", "Connection: cache-control, Vary,", "A: 1", "B: 1", "C: 1", "Cache-Control: no-store", "Vary: x",
		"Keep-Alive: 1", "Proxy-Authenticate: 1", "Proxy-Authentication-Info: 1", "Proxy-Authorization: 1", "Proxy-Connection: 1",
		"Te: 1", "Trailer: 1", "Transfer-Encoding: 1", "Upgrade: 1", "Content-Length: 1")
	policy.StripHopByHop(h)
	assert.Equal(t, header("C: 1", "Cache-Control: no-store", "Vary: x", "Content-Length: 1"), h, "no origin can mean the end of its own no-store")
	policy.StripHopByHop(nil)
}

// A 304 brings the fields of the one who has asked, and may name those that are not
// for others.
func TestPitfall6MergeDropsWhatIsExcepted(t *testing.T) {
	stored := header(`Cache-Control: max-age=60, private="X-User"`, `Etag: "a"`, "B: 1")
	got := policy.Rules{Shared: true}.Merge(stored, header("X-User: somebody", "B: 2"))
	assert.Equal(t, header(`Cache-Control: max-age=60, private="X-User"`, `Etag: "a"`, "B: 2"), got)
	got = policy.Rules{Shared: true}.Merge(stored, header(`Cache-Control: no-cache="B"`, "B: 2"))
	assert.Equal(t, header(`Cache-Control: no-cache="B"`, `Etag: "a"`), got)
	got = policy.Rules{}.Merge(stored, header("X-User: me"))
	assert.Equal(t, []string{"me"}, got["X-User"], "a private cache is somebody's own")
}
