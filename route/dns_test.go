package route_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/route"
)

// The kinds of records, and what a server says instead (RFC 1035, 2782 and 3596).
const (
	typeA    = 1
	typeAAAA = 28
	typeSRV  = 33

	serverFailure = 2
	noSuchName    = 3
	noAnswer      = -1 // it says nothing
)

// nameServer is a DNS server over UDP on loopback, which knows little more than how to
// answer.
type nameServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	records map[string][][]byte // by name and type
	code    int                 // for all questions
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &nameServer{conn: conn, records: make(map[string][][]byte)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return s
}

// resolver asks this server and no other. Half of an answer is none: the other half may come
// too late on a busy machine, or when the server has just changed its mind.
func (s *nameServer) resolver() *net.Resolver {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: dial}
}

func (s *nameServer) fail(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *nameServer) set(name string, kind uint16, records ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name+strconv.Itoa(int(kind))] = records
}

func (s *nameServer) serve() {
	question := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(question)
		if err != nil {
			return
		}
		if answer := s.answer(question[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) answer(question []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code == noAnswer {
		return nil
	}
	const header = 12
	end := header
	var labels []string
	for question[end] != 0 {
		size := int(question[end])
		labels = append(labels, string(question[end+1:end+1+size]))
		end += 1 + size
	}
	kind := binary.BigEndian.Uint16(question[end+1:])
	end += 5
	records := s.records[strings.ToLower(strings.Join(labels, "."))+strconv.Itoa(int(kind))]
	if s.code != 0 {
		records = nil
	}
	answer := append([]byte(nil), question[:2]...)
	answer = append(answer, 0x81, 0x80|byte(s.code), 0, 1, 0, byte(len(records)), 0, 0, 0, 0)
	answer = append(answer, question[header:end]...)
	for _, record := range records {
		answer = append(answer, 0xc0, header) // the name of the question
		answer = binary.BigEndian.AppendUint16(answer, kind)
		answer = append(answer, 0, 1, 0, 0, 0, 30) // for 30 s
		answer = binary.BigEndian.AppendUint16(answer, uint16(len(record)))
		answer = append(answer, record...)
	}
	return answer
}

func address(text string) []byte { return netip.MustParseAddr(text).AsSlice() }

func service(priority, weight, port uint16, target string) (record []byte) {
	for _, number := range []uint16{priority, weight, port} {
		record = binary.BigEndian.AppendUint16(record, number)
	}
	for label := range strings.SplitSeq(target, ".") {
		record = append(record, byte(len(label)))
		record = append(record, label...)
	}
	return record // target ends in a dot, and so the last label is empty
}

// update is one of a Resolver.
type update struct {
	hosts []route.Host
	err   error
}

// updates runs a Resolver until the test ends, and returns what it says.
func updates(t *testing.T, resolver route.Resolver) <-chan update {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan update, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		resolver(ctx, func(hosts []route.Host, err error) { said <- update{hosts, err} })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return said
}

// said returns what comes next that satisfies want.
func said(t *testing.T, all <-chan update, want func(update) bool) update {
	t.Helper()
	patience := time.NewTimer(20 * time.Second) // of a busy machine
	defer patience.Stop()
	for {
		select {
		case u := <-all:
			if want(u) {
				return u
			}
		case <-patience.C:
			require.Fail(t, "nothing of that kind is said")
		}
	}
}

func found(u update) bool  { return u.err == nil }
func failed(u update) bool { return u.err != nil }

func TestRequirement2DNS(t *testing.T) {
	server := newNameServer(t)
	server.set("web.test", typeA, address("127.0.0.2"), address("127.0.0.1"))
	server.set("web.test", typeAAAA, address("::1"))
	cfg := route.DNSConfig{Resolver: server.resolver(), Every: 20 * time.Millisecond, Timeout: 2 * time.Second}
	v4, v6 := cfg, cfg
	v4.Network, v6.Network = "ip4", "ip6"

	hosts := []route.Host{{Addr: "127.0.0.1:80"}, {Addr: "127.0.0.2:80"}, {Addr: "[::1]:80"}}
	assert.Equal(t, hosts[:2], said(t, updates(t, route.DNS("web.test.", 80, v4)), found).hosts)
	assert.Equal(t, hosts[2:], said(t, updates(t, route.DNS("web.test.", 80, v6)), found).hosts)
	assert.Equal(t, []route.Host{{Addr: "[::1]:80"}}, said(t, updates(t, route.DNS("::1", 80, cfg)), found).hosts)
	all := updates(t, route.DNS("web.test.", 80, cfg))
	for range 3 {
		assert.Equal(t, hosts, said(t, all, found).hosts)
	}

	server.set("web.test", typeA, address("127.0.0.3"))
	said(t, all, func(u update) bool { return len(u.hosts) == 2 && u.hosts[0].Addr == "127.0.0.3:80" })
	server.fail(serverFailure)
	said(t, all, failed)
	server.fail(0)
	assert.Len(t, said(t, all, found).hosts, 2)
	server.set("web.test", typeA)
	server.set("web.test", typeAAAA)
	said(t, all, failed)
}

func TestRequirement2SRV(t *testing.T) {
	server := newNameServer(t)
	server.set("_http._tcp.web.test", typeSRV,
		service(1, 7, 8080, "B.test."), service(1, 0, 8080, "a.test."), service(2, 1, 8080, "spare.test."))
	cfg := route.DNSConfig{Resolver: server.resolver(), Every: 20 * time.Millisecond, Timeout: 2 * time.Second}
	hosts := []route.Host{{Addr: "a.test:8080", Weight: 1}, {Addr: "b.test:8080", Weight: 7}}
	all := updates(t, route.SRV("http", "tcp", "web.test.", cfg))
	for range 3 {
		assert.Equal(t, hosts, said(t, all, found).hosts)
	}
	assert.Equal(t, hosts, said(t, updates(t, route.SRV("", "", "_http._tcp.web.test.", cfg)), found).hosts)

	server.set("_http._tcp.web.test", typeSRV, service(0, 0, 0, "."))
	assert.ErrorContains(t, said(t, all, failed).err, "no hosts")
}

// Names that cannot be resolved, and a config that is wrong, are a clear error, to whom
// calls as well: not a wait for ever.
func TestBadInputDNS(t *testing.T) {
	server := newNameServer(t)
	for name, test := range map[string]struct {
		code     int
		resolver func(route.DNSConfig) route.Resolver
		change   route.DNSConfig
		want     []string
	}{
		"no such name": {noSuchName, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test.", 80, cfg)
		}, route.DNSConfig{}, []string{"web.test.", "no such host"}},
		"no such service": {noSuchName, func(cfg route.DNSConfig) route.Resolver {
			return route.SRV("http", "tcp", "web.test.", cfg)
		}, route.DNSConfig{}, []string{"_http._tcp.web.test.", "no such host"}},
		"no address": {0, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test.", 80, cfg)
		}, route.DNSConfig{}, []string{"web.test."}},
		"a server that fails": {serverFailure, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test.", 80, cfg)
		}, route.DNSConfig{}, []string{"web.test.", "server misbehaving"}},
		"a server that says nothing": {noAnswer, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test.", 80, cfg)
		}, route.DNSConfig{Timeout: 50 * time.Millisecond}, []string{"web.test.", "timeout"}},
		"no name": {0, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("", 80, cfg)
		}, route.DNSConfig{}, []string{`DNS: "" is no name`}},
		"a port in the name": {0, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test:80", 80, cfg)
		}, route.DNSConfig{}, []string{`DNS: "web.test:80" is no name`}},
		"no service": {0, func(cfg route.DNSConfig) route.Resolver {
			return route.SRV("", "", "", cfg)
		}, route.DNSConfig{}, []string{`SRV: "", "", "" is no name`}},
		"a config": {0, func(cfg route.DNSConfig) route.Resolver {
			return route.DNS("web.test.", 80, cfg)
		}, route.DNSConfig{Network: "tcp", Every: -1, Timeout: -1}, []string{"DNSConfig.Network", "DNSConfig.Every", "DNSConfig.Timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			server.fail(test.code)
			cfg := test.change
			cfg.Resolver = server.resolver()
			pool := route.MustNew(route.Config{Names: []string{"web"}, Resolver: test.resolver(cfg)})
			defer func() { assert.NoError(t, pool.Close(t.Context())) }()
			_, err := pool.Transport(nil).RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil))
			require.ErrorIs(t, err, route.ErrNoHosts)
			for _, want := range test.want {
				assert.ErrorContains(t, err, want)
			}
			notSent, ok := err.(interface{ Unsent() bool })
			assert.True(t, ok && notSent.Unsent())
		})
	}
}

// All the way: a name, its addresses and ports, and servers there. What has no address
// any more is still asked.
func TestRequirement2DNSToServers(t *testing.T) {
	server := newNameServer(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	defer web.Close()
	port := web.Listener.Addr().(*net.TCPAddr).Port
	server.set("_http._tcp.web.test", typeSRV, service(1, 1, uint16(port), "localhost."))
	server.set("web.test", typeA, address("127.0.0.1"))
	cfg := route.DNSConfig{Resolver: server.resolver(), Every: 10 * time.Millisecond}
	for name, resolver := range map[string]route.Resolver{
		"DNS": route.DNS("web.test.", uint16(port), cfg),
		"SRV": route.SRV("http", "tcp", "web.test.", cfg),
	} {
		t.Run(name, func(t *testing.T) {
			server.fail(0)
			failures := make(chan struct{}, 1000)
			pool := route.MustNew(route.Config{
				Names: []string{"web"}, Resolver: resolver,
				Observe: func(_ context.Context, e route.Event) {
					if e.Kind == route.ResolveFailed {
						failures <- struct{}{}
					}
				},
			})
			defer func() { assert.NoError(t, pool.Close(t.Context())) }()
			client := &http.Client{Transport: pool.Transport(patient(t))}
			get := func() {
				resp, err := client.Get("http://web/")
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, "web", string(body))
			}
			get()
			server.fail(noSuchName)
			<-failures
			<-failures
			get()
		})
	}
}
