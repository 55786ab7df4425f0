package storetest

import (
	"net/http"
	"strings"
	"time"

	"github.com/failsoft/failsoft/stale"
)

// born is when the entries of the suite were fetched: in whole milliseconds, the
// least that a Store must keep of a time, and a minute before it is needed.
func born() time.Time { return time.Now().Add(-time.Minute).Truncate(time.Millisecond) }

// response returns an entry with something in every field of a response. Two
// calls with the same arguments return equal entries that share nothing.
func response(at time.Time, body string, tags ...string) *stale.Entry {
	return &stale.Entry{
		Status: http.StatusOK,
		Header: http.Header{
			"Content-Type": {"text/html; charset=utf-8"},
			"Link":         {"</a>; rel=preload", "", "</b>; rel=preload"},
			"X-Bytes":      {"\xff\xfe a tab\tand =,;\""},
			"X-Empty":      {""},
		},
		Trailer:  http.Header{"X-Checksum": {"abc"}},
		Body:     []byte(body),
		Asked:    "accept-encoding: br\n",
		Sent:     at.Add(-2 * time.Second),
		Received: at.Add(-time.Second),
		Took:     1500 * time.Millisecond,
		Tags:     tags,
		Expires:  at.Add(time.Hour),
	}
}

func list(at time.Time, ids ...string) *stale.Entry {
	e := &stale.Entry{Received: at, Expires: at.Add(time.Hour)}
	for _, id := range ids {
		e.Variants = append(e.Variants, stale.Variant{
			Names: []string{"Accept", "Accept-Language"}, Asked: "en\x00" + id, ID: id,
		})
	}
	return e
}

func mark(at time.Time) *stale.Entry {
	return &stale.Entry{
		Mark: &stale.Mark{
			PassUntil: at.Add(2 * time.Minute), Failures: 3, Failed: at, Wait: 4 * time.Second,
		},
		Expires: at.Add(time.Hour),
	}
}

// specimens are entries of every kind, by name.
func specimens(at time.Time) map[string]*stale.Entry {
	many := response(at, "many values")
	for range 1000 {
		many.Header.Add("Set-Cookie", strings.Repeat("c", 50))
	}
	purged := response(at, "purged before")
	purged.Purged = true
	later := at.Add(time.Hour)
	return map[string]*stale.Entry{
		"a response":   response(at, "hello", "tag", "another tag"),
		"an error":     {Status: http.StatusServiceUnavailable, Expires: later},
		"binary":       response(at, "\x00\xff\x00\r\n\xfe", "\x00\xff"),
		"many values":  many,
		"purged":       purged,
		"empty body":   {Status: http.StatusNoContent, Header: http.Header{}, Body: []byte{}, Expires: later},
		"a list":       list(at, "1", "2", "\x00\xff"),
		"a mark":       mark(at),
		"an old date":  {Status: http.StatusOK, Sent: time.Unix(0, 0), Received: time.Unix(1, 0), Expires: later},
		"for all time": {Status: http.StatusOK, Expires: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
}
