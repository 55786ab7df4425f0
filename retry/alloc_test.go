package retry_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/retry"
)

// body22 has the size of a small JSON answer.
const body22 = `{"price":1200,"id":77}`

// ignoring answers without a look at the context.
func ignoring(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body22)), ContentLength: int64(len(body22)), Request: req,
	}, nil
}

// deriving makes a context of its own from the request's, as net/http does.
func deriving(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	_ = ctx.Done()
	return ignoring(req)
}

// allocations counts those of one GET through an http.Client.
func allocations(t *testing.T, transport http.RoundTripper) float64 {
	t.Helper()
	client := &http.Client{Transport: transport}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://shop.test/prices", nil)
	require.NoError(t, err)
	return testing.AllocsPerRun(200, func() {
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
}

func TestHappyPathAllocations(t *testing.T) {
	tests := map[string]struct {
		cfg  retry.Config
		base roundTripFunc
		most float64
	}{
		"NoTimeout":                           {retry.Config{TryTimeout: retry.NoTimeout}, ignoring, 0},
		"NoTimeout, base derives a context":   {retry.Config{TryTimeout: retry.NoTimeout}, deriving, 0},
		"try timeout":                         {retry.Config{}, ignoring, 6},
		"try timeout, base derives a context": {retry.Config{}, deriving, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bare := allocations(t, tt.base)
			ours := allocations(t, retry.MustNew(tt.cfg).Transport(tt.base))
			t.Logf("bare %v, ours %v", bare, ours)
			assert.LessOrEqual(t, ours-bare, tt.most)
		})
	}
}

func TestDoAllocatesNothingWithoutATimeout(t *testing.T) {
	r := retry.MustNew(retry.Config{TryTimeout: retry.NoTimeout})
	ctx := context.Background()
	fn := func(context.Context) (int, error) { return 1, nil }
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		if _, err := retry.Do(ctx, r, "db", fn); err != nil {
			t.Fatal(err)
		}
	}))
}
