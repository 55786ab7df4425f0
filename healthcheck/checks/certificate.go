package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// DefaultExpiryWarn is how long before its end a certificate is worth a warning.
const DefaultExpiryWarn = 14 * 24 * time.Hour

// longestFile is how much of a file of certificates is read.
const longestFile = 1 << 20

var errNoCertificate = errors.New("checks: there is no certificate")

// Expiry says how long a certificate has to hold at least.
type Expiry struct {
	// Warn and Fail are the times before the end of a certificate from which on
	// the result is that. Zero means 14 days, or Fail if that is longer, and when
	// it has ended. Warn may be Off.
	Warn, Fail time.Duration

	_ struct{}
}

func (e Expiry) complete() (thresholds[time.Duration], error) {
	t, err := falling("Expiry", e.Warn, e.Fail, DefaultExpiryWarn, 0)
	return t, errors.Join(err, when(e.Fail == Off, "Expiry.Fail is Off, and what has ended has failed"))
}

// Certificate returns a probe that makes a TLS connection to addr, host:port, as any
// client would: the certificate must be trusted, and for that host. What counts is
// the first end in the chain, or the last of those if there are several chains. cfg
// may be nil; without verification, by InsecureSkipVerify, the end of the server's
// own certificate counts.
func Certificate(addr string, cfg *tls.Config, limits Expiry) Probe {
	t, err := limits.complete()
	if err = errors.Join(hostPort(addr), err); err != nil {
		return misconfigured(err)
	}
	dialer := &tls.Dialer{Config: cfg}
	return func(ctx context.Context) healthcheck.Result {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return untrusted(err)
		}
		defer func() { _ = conn.Close() }() // it has done what it was for
		secure, ok := conn.(*tls.Conn)
		if !ok {
			return failed(errNoCertificate, "")
		}
		return expiry(t, now(cfg), chainOf(secure.ConnectionState()))
	}
}

// chainOf returns the chain that counts. What a server sends beside it does not: old
// roots that some clients still need may have ended long ago.
func chainOf(state tls.ConnectionState) []*x509.Certificate {
	if len(state.VerifiedChains) == 0 {
		return state.PeerCertificates[:min(1, len(state.PeerCertificates))]
	}
	return slices.MaxFunc(state.VerifiedChains, func(a, b []*x509.Certificate) int {
		return first(a).NotAfter.Compare(first(b).NotAfter)
	})
}

// untrusted is unreachable, with a word on certificates that are not accepted.
func untrusted(err error) healthcheck.Result {
	res := unreachable(err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isForeign := errors.AsType[x509.HostnameError](err)
	_, isUnverified := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		res.Public = "the certificate has expired or does not hold yet"
	case isForeign:
		res.Public = "the certificate is for another name"
	case isUnverified:
		res.Public = "the certificate is not trusted"
	}
	return res
}

// CertificateFile returns a probe that reads a file of certificates in PEM, of which
// the one that ends first counts. Private keys in it are passed over. That the file
// is renewed does not say that the server has read it: see Certificate.
func CertificateFile(path string, limits Expiry) Probe {
	t, err := limits.complete()
	if err = errors.Join(when(path == "", "the path is empty"), err); err != nil {
		return misconfigured(err)
	}
	return func(context.Context) healthcheck.Result {
		chain, err := read(path)
		if err != nil {
			return failed(err, "the certificate cannot be read")
		}
		return expiry(t, time.Now(), chain)
	}
}

func read(path string) (chain []*x509.Certificate, err error) {
	file, err := os.Open(path) //nolint:gosec // The path is the program's own.
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, err := io.ReadAll(io.LimitReader(file, longestFile))
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return chain, nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("checks: %s: %w", path, err)
		}
		chain = append(chain, cert)
	}
}

// CertificateOf returns a probe for the certificates that a server offers by cfg:
// those that it lists, or if there are none, the one that its GetCertificate returns
// for its ServerName. The one that ends first counts.
func CertificateOf(cfg *tls.Config, limits Expiry) Probe {
	t, err := limits.complete()
	none := cfg == nil || len(cfg.Certificates) == 0 && cfg.GetCertificate == nil
	if err = errors.Join(when(none, "the tls.Config has no certificate"), err); err != nil {
		return misconfigured(err)
	}
	return func(context.Context) healthcheck.Result {
		chain, err := offered(cfg)
		if err != nil {
			return failed(err, "the certificate cannot be read")
		}
		return expiry(t, now(cfg), chain)
	}
}

// offered returns all certificates of cfg.
func offered(cfg *tls.Config) (all []*x509.Certificate, err error) {
	chains := cfg.Certificates
	if len(chains) == 0 {
		got, err := cfg.GetCertificate(&tls.ClientHelloInfo{
			ServerName: cfg.ServerName, SupportedVersions: []uint16{tls.VersionTLS13},
		})
		if err != nil {
			return nil, err
		}
		if got == nil {
			return nil, errNoCertificate
		}
		chains = []tls.Certificate{*got}
	}
	for _, chain := range chains {
		for _, der := range chain.Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			all = append(all, cert)
		}
	}
	return all, nil
}

// now is the time by which cfg judges certificates.
func now(cfg *tls.Config) time.Time {
	if cfg != nil && cfg.Time != nil {
		return cfg.Time()
	}
	return time.Now()
}

// first returns the certificate that ends first.
func first(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// expiry judges certificates at now.
func expiry(t thresholds[time.Duration], now time.Time, chain []*x509.Certificate) healthcheck.Result {
	if len(chain) == 0 {
		return failed(errNoCertificate, "there is no certificate")
	}
	for _, cert := range chain {
		if now.Before(cert.NotBefore) {
			return failed(fmt.Errorf("checks: the certificate of %s holds from %s on",
				cert.Subject, cert.NotBefore.Format(time.RFC3339)), "the certificate does not hold yet")
		}
	}
	cert := first(chain)
	left := cert.NotAfter.Sub(now)
	public := "the certificate expires in " + days(left)
	if left <= 0 {
		public = "the certificate has expired " + days(-left) + " ago"
	}
	res := measured(t.atMost(left), math.Round(left.Hours()/24*100)/100, "days", public)
	if res.Err != nil {
		res.Err = fmt.Errorf("%w (%s)", res.Err, cert.Subject)
	}
	return res
}

// days says how long d is to people.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Truncate(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
