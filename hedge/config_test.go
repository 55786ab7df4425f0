package hedge_test

import (
	"encoding/json"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/hedge"
)

func TestZeroConfigWorks(t *testing.T) {
	_, err := hedge.New(hedge.Config{})
	require.NoError(t, err)
}

func TestBadConfigIsAnError(t *testing.T) {
	two := func(broken string) []string { return []string{"http://a.test", broken} }
	for name, tt := range map[string]struct {
		cfg  hedge.Config
		want string
	}{
		"percent below 0":            {hedge.Config{Percent: -1}, "Config.Percent is -1"},
		"percent above 100":          {hedge.Config{Percent: 100.1}, "Config.Percent is 100.1"},
		"percent too little":         {hedge.Config{Percent: 0.001}, "Config.Percent is 0.001"},
		"percent is not a number":    {hedge.Config{Percent: math.NaN()}, "Config.Percent is NaN"},
		"percent is infinite":        {hedge.Config{Percent: math.Inf(1)}, "Config.Percent is +Inf"},
		"percent of a multicast":     {hedge.Config{Percent: 5, Delay: hedge.AtOnce}, "Delay is AtOnce"},
		"attempts below 0":           {hedge.Config{MaxAttempts: -1}, "Config.MaxAttempts is -1"},
		"attempts above 16":          {hedge.Config{MaxAttempts: 17}, "Config.MaxAttempts is 17"},
		"keys below 0":               {hedge.Config{MaxKeys: -1}, "Config.MaxKeys is -1"},
		"delay below 0":              {hedge.Config{Delay: -2}, "Config.Delay is -2ns"},
		"delay above an hour":        {hedge.Config{Delay: time.Hour + 1}, "Config.Delay is 1h0m0.000000001s"},
		"delay above the ceiling":    {hedge.Config{Delay: 2 * time.Second, MaxDelay: time.Second}, "Config.Delay of 2s is above MaxDelay of 1s"},
		"delay below the floor":      {hedge.Config{Delay: ms, MinDelay: time.Second}, "Config.Delay of 1ms is below MinDelay of 1s"},
		"floor below 0":              {hedge.Config{MinDelay: -1}, "Config.MinDelay is -1ns"},
		"floor above an hour":        {hedge.Config{MinDelay: time.Hour + 1}, "Config.MinDelay is"},
		"ceiling below 0":            {hedge.Config{MaxDelay: -1}, "Config.MaxDelay is -1ns"},
		"ceiling above an hour":      {hedge.Config{MaxDelay: time.Hour + 1}, "Config.MaxDelay is"},
		"ceiling below the floor":    {hedge.Config{MinDelay: time.Second, MaxDelay: ms}, "Config.MaxDelay of 1ms is below MinDelay of 1s"},
		"ceiling below its default":  {hedge.Config{MaxDelay: time.Microsecond}, "Config.MaxDelay of 1µs is below MinDelay of 1ms"},
		"grace below 0":              {hedge.Config{LoserGrace: -1}, "Config.LoserGrace is -1ns"},
		"grace above a minute":       {hedge.Config{LoserGrace: time.Minute + 1}, "Config.LoserGrace is"},
		"no endpoints":               {hedge.Config{Endpoints: []string{}}, "Config.Endpoints has 0"},
		"one endpoint":               {hedge.Config{Endpoints: []string{"http://a.test"}}, "Config.Endpoints has 1"},
		"endpoint that is no URL":    {hedge.Config{Endpoints: two("http://a b.test")}, `"http://a b.test"`},
		"endpoint, bad escape":       {hedge.Config{Endpoints: two("http://%zz")}, "Config.Endpoints"},
		"endpoint without a scheme":  {hedge.Config{Endpoints: two("a.test")}, `"a.test" is not of the form`},
		"endpoint, scheme unknown":   {hedge.Config{Endpoints: two("ftp://a.test")}, `"ftp://a.test" is not of the form`},
		"endpoint without a host":    {hedge.Config{Endpoints: two("http://")}, `"http://" is not of the form`},
		"endpoint with a path":       {hedge.Config{Endpoints: two("http://a.test/v1")}, `"http://a.test/v1" is not of the form`},
		"endpoint with a query":      {hedge.Config{Endpoints: two("http://a.test?x=1")}, "is not of the form"},
		"endpoint with a fragment":   {hedge.Config{Endpoints: two("http://a.test#x")}, "is not of the form"},
		"endpoint with a user":       {hedge.Config{Endpoints: two("http://me@a.test")}, "is not of the form"},
		"endpoint that is empty":     {hedge.Config{Endpoints: two("")}, `"" is not of the form`},
		"endpoint with a bare query": {hedge.Config{Endpoints: two("http://a.test?")}, "is not of the form"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := hedge.New(tt.cfg)
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "hedge: Config.")
			assert.Nil(t, h)
			assert.Panics(t, func() { hedge.MustNew(tt.cfg) })
		})
	}
}

func TestBadConfigIsReportedInOnePiece(t *testing.T) {
	_, err := hedge.New(hedge.Config{
		Percent: -1, MaxAttempts: 99, MaxKeys: -1, Delay: -2, MinDelay: -1, MaxDelay: -1, LoserGrace: -1,
		Endpoints: []string{"a.test"},
	})
	for _, field := range []string{
		"Percent", "MaxAttempts", "MaxKeys", "Delay", "MinDelay", "MaxDelay", "LoserGrace", "Endpoints has", "Endpoints: ",
	} {
		assert.ErrorContains(t, err, "hedge: Config."+field)
	}
}

func TestGoodConfigsAtTheirBounds(t *testing.T) {
	for name, cfg := range map[string]hedge.Config{
		"least":                          {Percent: 0.01, MaxAttempts: 1, MaxKeys: 1, Delay: 1, MinDelay: 1, MaxDelay: ms},
		"most":                           {Percent: 100, MaxAttempts: 16, Delay: time.Hour, MinDelay: time.Hour, MaxDelay: time.Hour, LoserGrace: time.Minute},
		"endpoints":                      {Endpoints: []string{"http://a.test/", "https://[::1]:8443"}},
		"below the default floor, fixed": {Delay: time.Microsecond},
	} {
		_, err := hedge.New(cfg)
		assert.NoError(t, err, name)
	}
}

func TestConfigIsCopied(t *testing.T) {
	bubble(t, "changes after New do nothing", func(t *testing.T) {
		cfg := fixed(hedge.Config{Endpoints: []string{"http://a.test", "http://b.test"}})
		h := hedge.MustNew(cfg)
		cfg.Endpoints[0], cfg.MaxAttempts = "http://other.test", 1
		b := newBase(hangs, answers(200))
		call(t, h.Transport(b), get(t))
		assert.Equal(t, []string{"a.test", "b.test"}, b.hosts())
	})
}

func TestConfigCanBePrinted(t *testing.T) {
	text, err := json.Marshal(hedge.Config{MaxAttempts: 4})
	require.NoError(t, err)
	assert.Contains(t, string(text), `"MaxAttempts":4`)
}

func TestTransportPassesCloseIdleConnectionsOn(t *testing.T) {
	idle := &idler{}
	client := &http.Client{Transport: hedge.MustNew(hedge.Config{}).Transport(idle)}
	client.CloseIdleConnections()
	assert.True(t, idle.closed)
}

type idler struct {
	http.RoundTripper

	closed bool
}

func (i *idler) CloseIdleConnections() { i.closed = true }
