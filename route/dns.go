package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The defaults of a DNSConfig.
const (
	DefaultDNSEvery   = 30 * time.Second
	DefaultDNSTimeout = 5 * time.Second
)

// DNSConfig says how names are looked up. The zero DNSConfig is the default.
type DNSConfig struct {
	// Network is "ip4" for IPv4 addresses only, "ip6" for IPv6, or "ip" for both. Zero
	// means "ip". SRV does not look for addresses.
	Network string

	// Every is how often a name is looked up, give or take a fifth. After a failure that
	// is sooner: a second later, two, four and so on, up to Every. Zero means 30 s. What
	// the records say of how long they are valid is not known here: net.Resolver does not
	// tell.
	Every time.Duration

	// Timeout is for how long a lookup may take. Zero means 5 s.
	Timeout time.Duration

	// Resolver is who looks it up. Nil means net.DefaultResolver.
	Resolver *net.Resolver `json:"-"`

	_ struct{}
}

// DNS returns a Resolver for the addresses of a name (its A and AAAA records), which
// it looks up again and again. Port 0 means the one of the scheme. No address, as any
// failure, is an error: the Pool keeps the hosts that it has. An answer is taken for all
// of them: where a server tells some of many at a time, hosts would come and go with
// each lookup, and what is known of them would be lost.
//
// What is wrong with the arguments is an error as well, the only one that it tells.
func DNS(host string, port uint16, cfg DNSConfig) Resolver {
	err := cfg.complete()
	if host == "" || strings.ContainsAny(host, "@:/ ") && !isIP(host) {
		err = errors.Join(bad("DNS: %q is no name of a host", host), err)
	}
	return cfg.follow(err, func(ctx context.Context) ([]Host, error) {
		addrs, err := cfg.Resolver.LookupNetIP(ctx, cfg.Network, host)
		return hostsOfAddrs(addrs, port), err
	})
}

// SRV returns a Resolver for the SRV records of a service, such as
// SRV("http", "tcp", "catalogue.internal", DNSConfig{}), or of a name as it is, if
// both service and proto are empty. Targets, ports and weights are what the records say; of
// their priorities, the lowest counts. A weight of 0 means 1, and where there are some
// above 1000 all are scaled down. Otherwise it is as DNS.
func SRV(service, proto, name string, cfg DNSConfig) Resolver {
	err := cfg.complete()
	if name == "" || (service == "") != (proto == "") || strings.ContainsAny(service+proto+name, "@:/ ") {
		err = errors.Join(bad("SRV: %q, %q, %q is no name of a service", service, proto, name), err)
	}
	return cfg.follow(err, func(ctx context.Context) ([]Host, error) {
		_, records, err := cfg.Resolver.LookupSRV(ctx, service, proto, name)
		return hostsOfRecords(records), err
	})
}

func (cfg *DNSConfig) complete() error {
	cfg.Network = cmp.Or(cfg.Network, "ip")
	cfg.Every = cmp.Or(cfg.Every, DefaultDNSEvery)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultDNSTimeout)
	cfg.Resolver = cmp.Or(cfg.Resolver, net.DefaultResolver)
	var wrong []error
	if !slices.Contains([]string{"ip", "ip4", "ip6"}, cfg.Network) {
		wrong = append(wrong, bad("DNSConfig.Network is %q, none of ip, ip4 and ip6", cfg.Network))
	}
	// Less is a number without its unit, and would ask the server all of the time.
	if cfg.Every < time.Millisecond {
		wrong = append(wrong, bad("DNSConfig.Every is %v, not at least 1ms", cfg.Every))
	}
	if cfg.Timeout < time.Millisecond {
		wrong = append(wrong, bad("DNSConfig.Timeout is %v, not at least 1ms", cfg.Timeout))
	}
	return errors.Join(wrong...)
}

// follow returns the Resolver that looks up again and again. If the config is wrong it
// says so, and waits: what does not change need not be told twice.
func (cfg *DNSConfig) follow(wrong error, lookup func(context.Context) ([]Host, error)) Resolver {
	return func(ctx context.Context, update func([]Host, error)) {
		if wrong != nil {
			update(nil, wrong)
			<-ctx.Done()
			return
		}
		for failures := 0; ; {
			hosts, err := cfg.once(ctx, lookup)
			if ctx.Err() != nil {
				return // and what it found or did not is of no use
			}
			wait := cfg.Every
			if failures++; err == nil {
				failures = 0
			} else {
				wait = backoff(failures, cfg.Every)
			}
			update(hosts, err)
			if sleep(ctx, jittered(wait)) != nil {
				return
			}
		}
	}
}

// once looks up, within the time there is. An answer that comes with an error is a
// part of one, and not taken.
func (cfg *DNSConfig) once(ctx context.Context, lookup func(context.Context) ([]Host, error)) ([]Host, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	hosts, err := lookup(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("route: DNS: %w", err)
	case len(hosts) == 0:
		return nil, errNoRecords
	}
	return hosts, nil
}

var errNoRecords = errors.New("route: DNS: the answer has no hosts")

// hostsOfAddrs returns the addresses in order, each once.
func hostsOfAddrs(addrs []netip.Addr, port uint16) []Host {
	hosts := make([]Host, 0, len(addrs))
	for _, ip := range addrs {
		ip = ip.Unmap()
		addr := ip.String()
		if port != 0 {
			addr = netip.AddrPortFrom(ip, port).String()
		} else if ip.Is6() {
			addr = "[" + addr + "]"
		}
		hosts = append(hosts, Host{Addr: addr})
	}
	return slices.Compact(byAddr(hosts))
}

// hostsOfRecords returns the targets of the lowest priority, in order. One that is
// there twice has both weights. The target "." means that there is no such service
// (RFC 2782).
func hostsOfRecords(records []*net.SRV) []Host {
	lowest := uint16(math.MaxUint16)
	for _, record := range records {
		lowest = min(lowest, record.Priority)
	}
	weights := make(map[string]int)
	for _, record := range records {
		target := strings.ToLower(strings.TrimSuffix(record.Target, "."))
		if target != "" && record.Priority == lowest {
			weights[net.JoinHostPort(target, strconv.Itoa(int(record.Port)))] += max(int(record.Weight), 1)
		}
	}
	heaviest := 0
	for _, weight := range weights {
		heaviest = max(heaviest, weight)
	}
	hosts := make([]Host, 0, len(weights))
	for addr, weight := range weights {
		if heaviest > maxWeight {
			weight = max((weight*maxWeight+heaviest/2)/heaviest, 1)
		}
		hosts = append(hosts, Host{Addr: addr, Weight: weight})
	}
	return byAddr(hosts)
}

// byAddr sorts hosts: the order in which DNS has them means nothing.
func byAddr(hosts []Host) []Host {
	slices.SortFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Addr, b.Addr) })
	return hosts
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
