package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/failsoft/failsoft/healthcheck"
)

// TCP returns a probe that opens a connection to addr, host:port, and closes it. It
// tells that somebody listens, and no more: a process that hangs is still connected
// to by its system.
func TCP(addr string) Probe {
	if err := hostPort(addr); err != nil {
		return misconfigured(err)
	}
	return func(ctx context.Context) healthcheck.Result {
		begin := time.Now()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return unreachable(err)
		}
		_ = conn.Close() // it has done what it was for
		return took(begin)
	}
}

// hostPort returns what is wrong with an address to dial. No host would mean this
// one, which is an address forgotten rather than meant.
func hostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return wrong("%w", err)
	}
	return when(host == "" || port == "" || port == "0", "the address is %q, not host:port", addr)
}

// DNS returns a probe that resolves host, as programs here do: by the system's files
// and servers, and its caches if it has some.
func DNS(host string) Probe { return resolve(host, &net.Resolver{}) }

func resolve(host string, by *net.Resolver) Probe {
	_, noIP := netip.ParseAddr(host)
	if err := errors.Join(
		when(host == "", "the name is empty"),
		when(noIP == nil, "%s is an address: there is nothing to resolve", host),
	); err != nil {
		return misconfigured(err)
	}
	return func(ctx context.Context) healthcheck.Result {
		begin := time.Now()
		if _, err := by.LookupHost(ctx, host); err != nil {
			return unreachable(err)
		}
		return took(begin)
	}
}
