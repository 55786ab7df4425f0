package checks_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

type netConn = net.Conn

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	probe := checks.TCP(listener.Addr().String())
	res := finds(t, probe, healthcheck.Pass, nil, "")
	assert.Equal(t, "ms", res.Unit)
	conn, err := listener.Accept()
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err, "the connection is closed")
	require.NoError(t, conn.Close())

	ended, end := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer end()
	assert.Equal(t, "no answer in time", probe(ended).Public, "it heeds its context")

	require.NoError(t, listener.Close())
	res = finds(t, probe, healthcheck.Fail, nil, "no connection")
	assert.ErrorContains(t, res.Err, "refused")
}

func TestNetBadInput(t *testing.T) {
	for _, bad := range []string{"", "db", "db:", ":5432", "db:0", "::1:80", "a:b:c"} {
		refuses(t, checks.TCP(bad))
		refuses(t, checks.Certificate(bad, nil, checks.Expiry{}))
	}
	refuses(t, checks.DNS(""), "empty")
	refuses(t, checks.DNS("192.0.2.1"), "nothing to resolve")
	refuses(t, checks.DNS("2001:db8::1"), "nothing to resolve")
}

func TestDNSAsTheSystemDoes(t *testing.T) {
	finds(t, checks.DNS("localhost"), healthcheck.Pass, nil, "")
}
