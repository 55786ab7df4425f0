package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/go-kit/kit/endpoint"
	"github.com/go-kit/kit/sd"
	"github.com/go-kit/kit/sd/lb"
	kratos "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/p2c"
	"github.com/go-kratos/kratos/v2/selector/random"
	"github.com/go-kratos/kratos/v2/selector/wrr"
	"resty.dev/v3"

	"github.com/failsoft/failsoft/route"
)

// RouteName is the service that requests are for.
const RouteName = "service.example"

// Route is one way to spread the requests for a service over its hosts. New makes one
// over a base, and returns how to end it. A base of nil is what it would use by itself.
type Route struct {
	Name string
	New  func(hosts []string, base http.RoundTripper) (through http.RoundTripper, end func())
}

// Routes returns all of them, ours first.
func Routes() []Route {
	return []Route{
		RouteOurs("failsoft, defaults", route.Config{}),
		KratosRoute("kratos, p2c", p2c.NewBuilder()),
		KratosRoute("kratos, weighted round robin", wrr.NewBuilder()),
		KratosRoute("kratos, random", random.NewBuilder()),
		RestyRoute("resty, weighted round robin", nil),
		KitRoute("go-kit, round robin"),
		FewestRoute("reference: fewest in flight of two", 2),
		FewestRoute("reference: fewest in flight of all", 0),
	}
}

// RouteOurs returns ours.
func RouteOurs(name string, cfg route.Config) Route {
	return Route{name, func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		cfg.Names, cfg.Hosts = []string{RouteName}, nil
		for _, addr := range hosts {
			cfg.Hosts = append(cfg.Hosts, route.Host{Addr: addr})
		}
		pool := route.MustNew(cfg)
		return pool.Transport(base), func() { _ = pool.Close(context.Background()) }
	}}
}

// KratosSelector returns what kratos selects with. It has no transport of its own that
// could be had without the rest of the framework.
func KratosSelector(builder selector.Builder, hosts []string) selector.Selector {
	nodes := make([]selector.Node, 0, len(hosts))
	for _, addr := range hosts {
		nodes = append(nodes, selector.NewNode("http", addr, nil))
	}
	chosen := builder.Build()
	chosen.Apply(nodes)
	return chosen
}

// KratosRoute does with a selector what kratos' client does: it reports when the
// headers are there, and statuses but 2xx as kratos' own errors.
func KratosRoute(name string, builder selector.Builder) Route {
	return Route{name, func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		base = orDefault(base)
		nodes := KratosSelector(builder, hosts)
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			node, done, err := nodes.Select(req.Context())
			if err != nil {
				return nil, err
			}
			resp, err := base.RoundTrip(Elsewhere(req, node.Address()))
			found := err
			if err == nil && resp.StatusCode/100 != 2 {
				found = kratos.New(resp.StatusCode, "", "")
			}
			done(req.Context(), selector.DoneInfo{Err: found})
			return resp, err
		}), func() {}
	}}
}

// RestyRoute is resty's client with its balancer, and set up further by the caller.
func RestyRoute(name string, setUp func(*resty.Client)) Route {
	return Route{name, func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		balancer, err := RestyBalancer(hosts)
		if err != nil {
			return unusable{err}, func() {}
		}
		client := resty.New()
		if base != nil {
			client = resty.NewWithClient(&http.Client{Transport: base})
		}
		client.SetLoadBalancer(balancer)
		if setUp != nil {
			setUp(client)
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			got, err := client.R().SetContext(req.Context()).SetResponseDoNotParse(true).
				Execute(req.Method, req.URL.Path)
			if err != nil {
				return nil, err
			}
			return got.RawResponse, nil
		}), func() { _ = client.Close() }
	}}
}

// RestyBalancer returns the one of resty's balancers that takes hosts out.
func RestyBalancer(hosts []string) (*resty.WeightedRoundRobin, error) {
	targets := make([]*resty.Host, 0, len(hosts))
	for _, addr := range hosts {
		targets = append(targets, &resty.Host{BaseURL: baseURL(addr), Weight: 1})
	}
	return resty.NewWeightedRoundRobin(0, targets...)
}

// KitRoute is go-kit's balancer.
func KitRoute(name string) Route {
	return Route{name, func(hosts []string, base http.RoundTripper) (http.RoundTripper, func()) {
		balancer := KitBalancer(hosts, orDefault(base))
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			there, err := balancer.Endpoint()
			if err != nil {
				return nil, err
			}
			return kitResponse(there(req.Context(), req))
		}), func() {}
	}}
}

// KitBalancer returns go-kit's balancer over an endpoint for each host.
func KitBalancer(hosts []string, base http.RoundTripper) lb.Balancer {
	endpoints := make(sd.FixedEndpointer, 0, len(hosts))
	for _, addr := range hosts {
		endpoints = append(endpoints, func(ctx context.Context, request any) (any, error) {
			req, ok := request.(*http.Request)
			if !ok {
				return nil, errors.New("bench: not a request")
			}
			own := Elsewhere(req, addr)
			if ctx != req.Context() {
				own = own.WithContext(ctx)
			}
			return base.RoundTrip(own)
		})
	}
	return lb.NewRoundRobin(endpoints)
}

// KitRetry sends a request through go-kit's balancer again.
func KitRetry(again endpoint.Endpoint) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		return kitResponse(again(req.Context(), req))
	})
}

func kitResponse(response any, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	resp, ok := response.(*http.Response)
	if !ok {
		return nil, errors.New("bench: not a response")
	}
	return resp, nil
}

// Elsewhere returns a copy of a request for another host. It shares the header.
func Elsewhere(req *http.Request, addr string) *http.Request {
	own, target := *req, *req.URL
	own.URL = &target
	target.Host = addr
	if scheme, rest, ok := strings.Cut(addr, "://"); ok {
		target.Scheme, target.Host = scheme, rest
	}
	if own.Host == "" {
		own.Host = req.URL.Host
	}
	return &own
}

func baseURL(addr string) string {
	if strings.Contains(addr, "://") {
		return addr
	}
	return "http://" + addr
}

// orDefault is what the rivals' own clients use.
func orDefault(base http.RoundTripper) http.RoundTripper {
	if base != nil {
		return base
	}
	usual, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return &http.Transport{DialContext: new(net.Dialer).DialContext}
	}
	return usual.Clone()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
