package stale

import (
	"crypto/tls"
	"net/http"

	"github.com/failsoft/failsoft/internal/rt"
)

// came is what a response says of the way that it has come, for those who get it as
// it comes: nothing of it is stored.
type came struct {
	proto        string
	major, minor int
	tls          *tls.ConnectionState
	uncompressed bool
	length       int64
	empty        bool        // there is no body
	trailer      http.Header // the names that were announced
}

func cameOf(resp *http.Response) came {
	return came{
		proto: resp.Proto, major: resp.ProtoMajor, minor: resp.ProtoMinor, tls: resp.TLS,
		uncompressed: resp.Uncompressed, length: resp.ContentLength, empty: !rt.Readable(resp),
		trailer: resp.Trailer.Clone(),
	}
}

// describe says of resp how it has come.
func (c *came) describe(resp *http.Response) {
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = c.proto, c.major, c.minor
	resp.TLS, resp.Uncompressed = c.tls, c.uncompressed
	resp.ContentLength, resp.Trailer = c.length, c.trailer.Clone()
}
