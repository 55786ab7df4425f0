package checks

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/healthcheck"
)

// nameServer answers DNS queries on a connection, each with its length before it:
// an A record for all if found, or that there is no such name.
func nameServer(conn net.Conn, found bool) {
	defer conn.Close()
	for {
		size := make([]byte, 2)
		if _, err := io.ReadFull(conn, size); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		end := 12
		for query[end] != 0 {
			end += int(query[end]) + 1
		}
		kind := query[end+2]
		end += 5
		answer := []byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}
		answer = append(answer, query[12:end]...)
		switch {
		case !found:
			answer[3] = 0x83 // NXDOMAIN
		case kind == 1:
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// resolver asks servers that answer by serve.
func resolver(serve func(net.Conn)) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go serve(there)
		return here, nil
	}}
}

func TestDNS(t *testing.T) {
	t.Run("found", func(t *testing.T) {
		res := resolve("db.failsoft.test.", resolver(func(c net.Conn) { nameServer(c, true) }))(t.Context())
		assert.Equal(t, healthcheck.Pass, res.Status, "%v", res.Err)
		assert.Equal(t, "ms", res.Unit)
	})
	t.Run("not found", func(t *testing.T) {
		res := resolve("db.failsoft.test.", resolver(func(c net.Conn) { nameServer(c, false) }))(t.Context())
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Equal(t, "the name cannot be resolved", res.Public)
		assert.ErrorContains(t, res.Err, "no such host")
	})
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			silent := resolver(func(c net.Conn) {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			res := resolve("db.failsoft.test.", silent)(ctx)
			assert.Equal(t, time.Second, time.Since(begin))
			assert.Equal(t, healthcheck.Fail, res.Status)
			assert.Equal(t, "no answer in time", res.Public)
		})
	})
}
