package checks

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTheChainThatCounts(t *testing.T) {
	until := func(year int) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	leaf, crossed, root, gone := until(2030), until(2028), until(2040), until(2021)
	sent := []*x509.Certificate{leaf, gone}
	chains := [][]*x509.Certificate{{leaf, crossed, gone}, {leaf, root}, {leaf, crossed}}
	assert.Equal(t, chains[1], chainOf(tls.ConnectionState{PeerCertificates: sent, VerifiedChains: chains}),
		"one that holds longest is enough")
	assert.Same(t, gone, first(chains[0]))
	assert.Equal(t, sent[:1], chainOf(tls.ConnectionState{PeerCertificates: sent}), "nothing was verified")
	assert.Empty(t, chainOf(tls.ConnectionState{}))
}
