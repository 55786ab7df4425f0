package attempt

import (
	"errors"
	"net/http"
	"strconv"
)

// The headers that carry the attempt numbers to a server. They are sent from
// attempt 2 on only, and only by a policy that was told to.
const (
	RetryHeader = "Retry-Attempt"
	HedgeHeader = "Hedge-Attempt"
)

// MaxFromHeader is the highest number that FromHeader reports. A peer can
// write anything into a header; nothing real is above this.
const MaxFromHeader = 100

// FromHeader reads an attempt number that a client sent under name. An absent,
// repeated or malformed value is attempt 1, a larger one than MaxFromHeader is
// MaxFromHeader.
func FromHeader(header http.Header, name string) int {
	values := header[name]
	if len(values) != 1 {
		return 1
	}
	n, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n < 1 { // out of range is still a number, and n its bound
		return 1
	}
	return int(min(n, MaxFromHeader))
}
