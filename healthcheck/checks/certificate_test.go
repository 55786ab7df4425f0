package checks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

const day = 24 * time.Hour

// certificate returns one, in DER, that holds from an hour ago for so long from now.
func certificate(t *testing.T, name string, from, left time.Duration) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

// file writes blocks of PEM.
func file(t *testing.T, blocks ...*pem.Block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tls.pem")
	var text []byte
	for _, block := range blocks {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func block(der []byte) *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: der} }

func TestCertificateFile(t *testing.T) {
	bubble(t, "warns 14 days before the end, and fails at it", func(t *testing.T) {
		path := file(t, &pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("not looked at")},
			block(certificate(t, "shop.test", -time.Hour, 20*day)), block(certificate(t, "ca.test", -time.Hour, 30*day)))
		probe := checks.CertificateFile(path, checks.Expiry{})
		finds(t, probe, healthcheck.Pass, 20.0, "")
		time.Sleep(6*day - 1)
		finds(t, probe, healthcheck.Pass, 14.0, "")
		time.Sleep(time.Nanosecond)
		res := finds(t, probe, healthcheck.Warn, 14.0, "the certificate expires in 14 days")
		assert.Equal(t, "days", res.Unit)
		assert.ErrorContains(t, res.Err, "CN=shop.test")
		time.Sleep(13*day - 1)
		finds(t, probe, healthcheck.Warn, 1.0, "the certificate expires in 24h0m0s")
		time.Sleep(day)
		finds(t, probe, healthcheck.Warn, 0.0, "the certificate expires in 0s")
		time.Sleep(time.Nanosecond)
		finds(t, probe, healthcheck.Fail, 0.0, "the certificate has expired 0s ago")
		time.Sleep(3 * day)
		finds(t, probe, healthcheck.Fail, -3.0, "the certificate has expired 3 days ago")
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block(certificate(t, "shop.test", 0, 90*day))), 0o600))
		finds(t, probe, healthcheck.Pass, 90.0, "")
	})
	bubble(t, "the one that ends first counts", func(t *testing.T) {
		path := file(t, block(certificate(t, "shop.test", -time.Hour, 90*day)), block(certificate(t, "ca.test", -time.Hour, 3*day)))
		res := finds(t, checks.CertificateFile(path, checks.Expiry{}), healthcheck.Warn, 3.0, "the certificate expires in 3 days")
		assert.ErrorContains(t, res.Err, "CN=ca.test")
	})
	bubble(t, "thresholds of one's own", func(t *testing.T) {
		path := file(t, block(certificate(t, "shop.test", -time.Hour, 20*day)))
		expires := "the certificate expires in 20 days"
		finds(t, checks.CertificateFile(path, checks.Expiry{Warn: 20 * day}), healthcheck.Warn, nil, expires)
		finds(t, checks.CertificateFile(path, checks.Expiry{Fail: 20 * day}), healthcheck.Fail, nil, expires)
		finds(t, checks.CertificateFile(path, checks.Expiry{Warn: checks.Off}), healthcheck.Pass, nil, "")
		finds(t, checks.CertificateFile(path, checks.Expiry{Warn: checks.Off, Fail: 20 * day}), healthcheck.Fail, nil, expires)
	})
	bubble(t, "one that does not hold yet", func(t *testing.T) {
		path := file(t, block(certificate(t, "shop.test", time.Hour, 90*day)))
		probe := checks.CertificateFile(path, checks.Expiry{})
		finds(t, probe, healthcheck.Fail, nil, "the certificate does not hold yet")
		time.Sleep(time.Hour)
		finds(t, probe, healthcheck.Pass, nil, "")
	})
	t.Run("files that are none", func(t *testing.T) {
		unreadable := "the certificate cannot be read"
		missing := filepath.Join(t.TempDir(), "none")
		res := finds(t, checks.CertificateFile(missing, checks.Expiry{}), healthcheck.Fail, nil, unreadable)
		assert.ErrorIs(t, res.Err, os.ErrNotExist)
		finds(t, checks.CertificateFile(t.TempDir(), checks.Expiry{}), healthcheck.Fail, nil, unreadable)
		finds(t, checks.CertificateFile(file(t, block([]byte("junk"))), checks.Expiry{}), healthcheck.Fail, nil, unreadable)
		finds(t, checks.CertificateFile(file(t), checks.Expiry{}), healthcheck.Fail, nil, "there is no certificate")
	})
	t.Run("bad input", func(t *testing.T) {
		refuses(t, checks.CertificateFile("", checks.Expiry{Warn: 1, Fail: 2}), "path is empty", "Expiry.Warn is 1ns, below Fail, 2ns")
		refuses(t, checks.CertificateFile("x", checks.Expiry{Fail: checks.Off}), "Expiry.Fail is Off")
		refuses(t, checks.CertificateFile("x", checks.Expiry{Warn: -2, Fail: -3}), "Expiry.Warn is -2ns", "Expiry.Fail is -3ns")
	})
}

func TestCertificateOf(t *testing.T) {
	bubble(t, "those that are listed", func(t *testing.T) {
		cfg := &tls.Config{Certificates: []tls.Certificate{
			{Certificate: [][]byte{certificate(t, "a.test", -time.Hour, 90*day)}},
			{Certificate: [][]byte{certificate(t, "b.test", -time.Hour, 90*day), certificate(t, "ca.test", -time.Hour, 5*day)}},
		}}
		probe := checks.CertificateOf(cfg, checks.Expiry{})
		finds(t, probe, healthcheck.Warn, 5.0, "the certificate expires in 5 days")
	})
	bubble(t, "by the clock of the config", func(t *testing.T) {
		cfg := &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{certificate(t, "a.test", -time.Hour, 90*day)}}},
			Time:         func() time.Time { return time.Now().Add(88 * day) },
		}
		finds(t, checks.CertificateOf(cfg, checks.Expiry{}), healthcheck.Warn, 2.0, "the certificate expires in 2 days")
	})
	bubble(t, "those that are made as they are needed", func(t *testing.T) {
		var got *tls.Certificate
		var err error
		cfg := &tls.Config{ServerName: "a.test", GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			assert.Equal(t, "a.test", hello.ServerName)
			return got, err
		}}
		probe := checks.CertificateOf(cfg, checks.Expiry{})
		res := finds(t, probe, healthcheck.Fail, nil, "the certificate cannot be read")
		assert.ErrorContains(t, res.Err, "no certificate")
		got = &tls.Certificate{Certificate: [][]byte{certificate(t, "a.test", -time.Hour, 90*day)}}
		finds(t, probe, healthcheck.Pass, 90.0, "")
		got = &tls.Certificate{Certificate: [][]byte{[]byte("junk")}}
		finds(t, probe, healthcheck.Fail, nil, "the certificate cannot be read")
		err = errors.New("no account")
		assert.ErrorIs(t, finds(t, probe, healthcheck.Fail, nil, "the certificate cannot be read").Err, err)
	})
	t.Run("bad input", func(t *testing.T) {
		refuses(t, checks.CertificateOf(nil, checks.Expiry{}), "no certificate")
		refuses(t, checks.CertificateOf(&tls.Config{}, checks.Expiry{Warn: -5}), "no certificate", "Expiry.Warn")
	})
}

func TestCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail on purpose
	server.StartTLS()
	defer server.Close()
	addr, end := server.Listener.Addr().String(), server.Certificate().NotAfter
	trusting := func(now time.Time) *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(server.Certificate())
		return &tls.Config{RootCAs: pool, Time: func() time.Time { return now }}
	}
	t.Run("holds", func(t *testing.T) {
		finds(t, checks.Certificate(addr, trusting(end.Add(-50*day)), checks.Expiry{}), healthcheck.Pass, 50.0, "")
	})
	t.Run("ends soon", func(t *testing.T) {
		finds(t, checks.Certificate(addr, trusting(end.Add(-3*day)), checks.Expiry{}), healthcheck.Warn, 3.0, "the certificate expires in 3 days")
	})
	t.Run("has ended", func(t *testing.T) {
		finds(t, checks.Certificate(addr, trusting(end.Add(3*day)), checks.Expiry{}), healthcheck.Fail, nil, "the certificate has expired or does not hold yet")
	})
	t.Run("is not trusted", func(t *testing.T) {
		finds(t, checks.Certificate(addr, nil, checks.Expiry{}), healthcheck.Fail, nil, "the certificate is not trusted")
	})
	t.Run("is for another name", func(t *testing.T) {
		cfg := trusting(end.Add(-50 * day))
		cfg.ServerName = "other.test"
		finds(t, checks.Certificate(addr, cfg, checks.Expiry{}), healthcheck.Fail, nil, "the certificate is for another name")
	})
	t.Run("without verification its end counts still", func(t *testing.T) {
		cfg := &tls.Config{InsecureSkipVerify: true, Time: func() time.Time { return end.Add(2 * day) }}
		finds(t, checks.Certificate(addr, cfg, checks.Expiry{}), healthcheck.Fail, -2.0, "the certificate has expired 2 days ago")
	})
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		finds(t, checks.Certificate(listener.Addr().String(), nil, checks.Expiry{}), healthcheck.Fail, nil, "no connection")
	})
	t.Run("a server that says nothing", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		res := checks.Certificate(listener.Addr().String(), nil, checks.Expiry{})(ctx)
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Equal(t, "no answer in time", res.Public)
	})
}
