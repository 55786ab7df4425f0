module github.com/failsoft/failsoft/bench

go 1.26.0

replace github.com/failsoft/failsoft => ../

require (
	github.com/AppsFlyer/go-sundheit v0.6.0
	github.com/PuerkitoBio/rehttp v1.4.0
	github.com/alexliesenfeld/health v0.8.0
	github.com/cenk/backoff v2.2.1+incompatible
	github.com/cenkalti/backoff/v5 v5.0.3
	github.com/cristalhq/hedgedhttp v0.9.1
	github.com/eapache/go-resiliency v1.7.0
	github.com/etherlabsio/healthcheck v0.0.0-20191224061800-dd3d2fd8c3f6
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/failsoft/failsoft v0.0.0-00010101000000-000000000000
	github.com/hashicorp/go-retryablehttp v0.7.8
	github.com/hellofresh/health-go/v5 v5.5.4
	github.com/influxdata/tdigest v0.0.1
	github.com/rubyist/circuitbreaker v2.2.1+incompatible
	github.com/sony/gobreaker/v2 v2.4.0
	github.com/stretchr/testify v1.12.1
	resty.dev/v3 v3.0.0-rc.4
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/facebookgo/clock v0.0.0-20150410010913-600d898af40a // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/maypok86/otter/v2 v2.4.0 // indirect
	github.com/peterbourgon/g2s v0.0.0-20170223122336-d4e7ad98afea // indirect
	github.com/pkg/errors v0.9.1 // indirect
	go.opentelemetry.io/otel v1.35.0 // indirect
	go.opentelemetry.io/otel/trace v1.35.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
