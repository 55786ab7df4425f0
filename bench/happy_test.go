package bench_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/failsoft/failsoft/bench"
)

const (
	answer = `{"id":42,"name":"Ada"}`
	where  = "http://service.example/users/42"
)

// happyCase is a table: what is sent, to which base, and how many allocations
// more than a bare client ours may take, by the names of the contenders.
type happyCase struct {
	name     string
	base     http.RoundTripper
	request  func() (*http.Request, error)
	promises map[string]float64
}

func happyCases() []happyCase {
	get, err := http.NewRequestWithContext(context.Background(), http.MethodGet, where, nil)
	reused := func() (*http.Request, error) { return get, err }
	payload := bytes.Repeat([]byte("x"), 1024)
	post := func() (*http.Request, error) {
		return http.NewRequestWithContext(context.Background(), http.MethodPost, where, bytes.NewReader(payload))
	}
	flat := map[string]float64{"failsoft, no timeout": 0, "failsoft, per try (default)": 6}
	derived := map[string]float64{"failsoft, no timeout": 0, "failsoft, per try (default)": 9}
	return []happyCase{
		{"GET", stub{}, reused, flat},
		{"POST 1 KiB", stub{}, post, flat},
		{"GET, base derives a context", stub{derives: true}, reused, derived},
	}
}

// What a retry costs where none is needed.
func TestHappyPath(t *testing.T) {
	for _, c := range happyCases() {
		t.Run(c.name, func(t *testing.T) {
			ops := c.ops()
			measured := measure(ops)
			keep(t, c.promises, ops, measured)
			costs("happy path, "+c.name, ops, measured).publish(t)
		})
	}
}

func BenchmarkHappyPath(b *testing.B) {
	for _, c := range happyCases() {
		b.Run(c.name, func(b *testing.B) { benchmark(b, c.ops()) })
	}
}

func (c happyCase) ops() []op {
	var ops []op
	for _, contender := range bench.HappyPath() {
		client := &http.Client{Transport: contender.Wrap(c.base)}
		buf := make([]byte, 512)
		ops = append(ops, op{name: contender.Name, run: func() {
			req, err := c.request()
			if err != nil {
				panic(err)
			}
			if got := exchange(client, req, buf); got != len(answer) {
				panic("the answer was lost on its way")
			}
		}})
	}
	return ops
}

// exchange sends req and reads the answer to its end. It returns the length of
// the answer, -1 if there was none. The buffer is the caller's, and io.Copy is
// avoided, because it takes shortcuts that depend on the type of the body.
func exchange(client *http.Client, req *http.Request, buf []byte) int {
	resp, err := client.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	for length := 0; ; {
		n, err := resp.Body.Read(buf)
		length += n
		if err == io.EOF {
			return length
		}
		if err != nil {
			return -1
		}
	}
}

// stub is a server without a network. With derives it treats its context like
// net/http's Transport: one is derived for each exchange, watched, and canceled
// when the body has been read.
type stub struct{ derives bool }

func (s stub) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
	}
	body := &stubBody{text: *strings.NewReader(answer)}
	if s.derives {
		ctx, cancel := context.WithCancel(req.Context())
		if ctx.Done() == nil {
			panic("a context that can be canceled is never done")
		}
		body.cancel = cancel
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: body, ContentLength: int64(len(answer)), Request: req,
	}, nil
}

type stubBody struct {
	text   strings.Reader
	cancel context.CancelFunc
}

func (b *stubBody) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err != nil && b.cancel != nil {
		b.cancel()
	}
	return n, err
}

func (b *stubBody) Close() error {
	if b.cancel != nil {
		b.cancel()
	}
	return nil
}
