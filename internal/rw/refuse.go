package rw

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/failsoft/failsoft/internal/attempt"
)

// maxUnread is how much of a request body net/http reads, after the handler has
// returned, to keep the connection. What is larger costs the connection anyway.
const maxUnread = 256 << 10

// RefusalHeader sets what every refusal says, whatever its body: when to come
// back, in whole seconds (rounded up and at least one, so that nobody comes
// back at once), that nobody may store it, and that the connection ends if too
// much of the request is unread. It belongs before a body that the user writes.
//
// The connection is named closed by us because net/http would, where the length
// is unknown, first read 256 KiB at the client's pace and answer only then,
// which is no refusal at once. HTTP/2 resets the stream instead, and forbids
// the header.
//
// A cache further out is told that this answer says nothing of the next.
func RefusalHeader(header http.Header, req *http.Request, retryAfter time.Duration) {
	// A Handler further out may have described the answer it hoped for.
	for _, name := range []string{"Content-Encoding", "Content-Length", "ETag", "Expires", "Last-Modified"} {
		header.Del(name)
	}
	header.Set("Retry-After", wholeSeconds(retryAfter))
	header.Set("Cache-Control", "no-store")
	attempt.MarkRefused(req.Context())
	if req.ProtoMajor == 1 && (req.ContentLength > maxUnread || req.ContentLength < 0) {
		header.Set("Connection", "close")
	}
}

// Refuse answers a request that is not let in, with a line of plain text.
func Refuse(w http.ResponseWriter, req *http.Request, status int, retryAfter time.Duration, text string) {
	header := w.Header()
	RefusalHeader(header, req, retryAfter)
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	if req.Method == http.MethodHead {
		return
	}
	// The caller has left if this fails, which is an end as good as any for a refusal.
	_, _ = io.WriteString(w, text+"\n")
}

func wholeSeconds(d time.Duration) string {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++ // Adding a second before dividing would overflow for the longest durations.
	}
	return strconv.FormatInt(max(seconds, 1), 10)
}
