package route

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certified is a server with a certificate for a name, and who trusts that.
func certified(t *testing.T, dnsName string) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{dnsName}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	trusted.AddCert(parsed)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Asked-For", r.TLS.ServerName+" "+r.Host+" "+r.Proto)
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, trusted
}

// Transport(nil) verifies the service's name, at whatever address; so do checks.
func TestRequirement1ServerName(t *testing.T) {
	server, trusted := certified(t, "shop.example")
	addr := strings.TrimPrefix(server.URL, "https://")
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"the first of the names":  {Config{Names: []string{"shop.example", "x"}}, ""},
		"without its port":        {Config{Names: []string{"x", "shop.example:8443"}, TLSName: "shop.example"}, ""},
		"a name of a certificate": {Config{Names: []string{"x"}, TLSName: "shop.example"}, ""},
		"another":                 {Config{Names: []string{"x"}}, "certificate is valid for shop.example, not x"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Hosts = []Host{{Addr: addr}}
			pool := MustNew(c.cfg)
			defer pool.Close(t.Context())
			next := pool.Transport(nil)
			pool.base.TLSClientConfig.RootCAs = trusted
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.cfg.Names[0]+"/", nil)
			require.NoError(t, err)
			resp, err := next.RoundTrip(req)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, "shop.example "+c.cfg.Names[0]+" HTTP/2.0", resp.Header.Get("Asked-For"))
		})
	}
	assert.Equal(t, "shop.example", newBase(&Config{Names: []string{"shop.example:8443"}}).TLSClientConfig.ServerName)
}

// The certificate of another service is another one: the name that is verified for one's
// own hosts is not looked for there.
func TestRequirement1ForeignCertificates(t *testing.T) {
	pool := MustNew(Config{Names: []string{"shop.example"}, Hosts: []Host{{Addr: "10.0.0.1"}}})
	defer pool.Close(t.Context())
	next, ok := pool.Transport(nil).(*transport)
	require.True(t, ok)
	assert.Same(t, http.DefaultTransport, next.abroad)
	assert.Same(t, pool.base, next.next)
	assert.NotSame(t, next.next, next.abroad)
	again, ok := pool.Transport(nil).(*transport)
	require.True(t, ok)
	assert.Same(t, next.next, again.next, "all share the connections")
}
