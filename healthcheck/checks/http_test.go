package checks_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
	"github.com/failsoft/failsoft/healthcheck/checks"
)

// over is a transport for tests in bubbles.
type over func(*http.Request) (*http.Response, error)

func (fn over) RoundTrip(req *http.Request) (*http.Response, error) { return fn(req) }

// body counts what is read of it.
type body struct {
	io.Reader

	read, closed atomic.Int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *body) Close() error {
	b.closed.Add(1)
	return nil
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// answers is a transport that gives one answer; header is a list of names and values.
func answers(status int, content io.ReadCloser, header ...string) over {
	return func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{
			StatusCode: status, Status: http.StatusText(status), ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: content, Request: req, ContentLength: -1,
		}
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

func TestHTTP(t *testing.T) {
	const target = "http://shop.test/healthz"
	errJudge := errors.New("no")
	refusing := func(*http.Response) error { return errJudge }
	for _, row := range []struct {
		name   string
		get    checks.HTTPGet
		status int
		header []string
		want   healthcheck.Status
		public string
	}{
		{"2xx by default", checks.HTTPGet{}, 204, nil, healthcheck.Pass, ""},
		{"nothing else by default", checks.HTTPGet{}, 503, nil, healthcheck.Fail, "status 503"},
		{"redirects are not followed", checks.HTTPGet{}, 302, []string{"Location", "http://elsewhere.test/"}, healthcheck.Fail, "status 302"},
		{"a class", checks.HTTPGet{Status: 3}, 302, []string{"Location", "http://elsewhere.test/"}, healthcheck.Pass, ""},
		{"another class", checks.HTTPGet{Status: 4}, 200, nil, healthcheck.Fail, "status 200"},
		{"one status", checks.HTTPGet{Status: 401}, 401, nil, healthcheck.Pass, ""},
		{"another status", checks.HTTPGet{Status: 200}, 201, nil, healthcheck.Fail, "status 201"},
		{"a judge in the place of the status", checks.HTTPGet{Judge: func(*http.Response) error { return nil }}, 500, nil, healthcheck.Pass, ""},
		{"a judge that refuses", checks.HTTPGet{Judge: refusing}, 200, nil, healthcheck.Fail, ""},
		{"the right service", checks.HTTPGet{Service: "prices"}, 200, []string{"X-Service-Name", "prices"}, healthcheck.Pass, ""},
		{"another service", checks.HTTPGet{Service: "prices"}, 200, []string{"X-Service-Name", "mail"}, healthcheck.Fail, "another service answers"},
		{"a service without a name", checks.HTTPGet{Service: "prices"}, 500, nil, healthcheck.Fail, "another service answers"},
		{"by another header", checks.HTTPGet{Service: "prices", ServiceHeader: "Server"}, 200, []string{"Server", "prices"}, healthcheck.Pass, ""},
	} {
		bubble(t, row.name, func(t *testing.T) {
			content := &body{Reader: strings.NewReader("hello")}
			get := row.get
			get.URL, get.Transport = target, answers(row.status, content, row.header...)
			finds(t, checks.HTTP(get), row.want, nil, row.public)
			assert.Equal(t, int64(5), content.read.Load(), "drained, so that its connection can be reused")
			assert.Equal(t, int64(1), content.closed.Load())
		})
	}
	bubble(t, "what is sent", func(t *testing.T) {
		var sent *http.Request
		var values []string
		get := checks.HTTPGet{URL: "http://probe:secret@shop.test/healthz?full=1", Header: http.Header{"X-A": {"b"}, "Host": {"inner.test"}}}
		get.Transport = over(func(req *http.Request) (*http.Response, error) {
			sent, values = req, append(values, req.Header.Get("X-A"))
			req.Header.Set("X-A", "spoiled") // which a transport must not, and the next request does not care
			return answers(200, http.NoBody)(req)
		})
		probe := checks.HTTP(get)
		get.Header.Set("X-A", "changed later")
		for range 2 {
			finds(t, probe, healthcheck.Pass, nil, "")
		}
		assert.Equal(t, []string{"b", "b"}, values)
		assert.Equal(t, http.MethodGet, sent.Method)
		assert.Equal(t, "inner.test", sent.Host)
		assert.Equal(t, "/healthz?full=1", sent.URL.RequestURI())
		assert.Equal(t, "failsoft-healthcheck", sent.UserAgent())
		user, password, _ := sent.BasicAuth()
		assert.Equal(t, "probe secret", user+" "+password)
		assert.Equal(t, "changed later", get.Header.Get("X-A"), "the caller's header is left alone")
	})
	bubble(t, "tells the time to the headers", func(t *testing.T) {
		probe := checks.HTTP(checks.HTTPGet{URL: target, Transport: over(func(req *http.Request) (*http.Response, error) {
			time.Sleep(7 * time.Millisecond)
			return answers(200, http.NoBody)(req)
		})})
		finds(t, probe, healthcheck.Pass, 7.0, "")
	})
	bubble(t, "bodies are read so far and no further", func(t *testing.T) {
		content := &body{Reader: endless{}}
		finds(t, checks.HTTP(checks.HTTPGet{URL: target, Transport: answers(200, content)}), healthcheck.Pass, nil, "")
		assert.LessOrEqual(t, content.read.Load(), int64(128<<10))
		assert.Equal(t, int64(1), content.closed.Load())

		content = &body{Reader: endless{}}
		judge := func(resp *http.Response) error {
			all, err := io.ReadAll(resp.Body)
			assert.Len(t, all, 64<<10)
			return err
		}
		finds(t, checks.HTTP(checks.HTTPGet{URL: target, Judge: judge, Transport: answers(200, content)}), healthcheck.Pass, nil, "")
		assert.Equal(t, int64(1), content.closed.Load())
	})
	bubble(t, "a panic of Judge closes the body", func(t *testing.T) {
		content := &body{Reader: strings.NewReader("hello")}
		probe := checks.HTTP(checks.HTTPGet{URL: target, Judge: func(*http.Response) error { panic("oh") }, Transport: answers(200, content)})
		assert.Panics(t, func() { probe(t.Context()) })
		assert.Equal(t, int64(1), content.closed.Load())
	})
	bubble(t, "ends with its context", func(t *testing.T) {
		probe := checks.HTTP(checks.HTTPGet{URL: target, Transport: over(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		res := probe(ctx)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, healthcheck.Fail, res.Status)
		assert.Equal(t, "no answer in time", res.Public)
	})
}

func TestHTTPBadInput(t *testing.T) {
	const target = "https://shop.test"
	for _, bad := range []string{"", "shop.test/healthz", "/healthz", "ftp://shop.test", "http://", "http://shop.test:port", "%"} {
		refuses(t, checks.HTTP(checks.HTTPGet{URL: bad}), "HTTPGet.URL")
	}
	for _, bad := range []int{-1, 1, 6, 99, 100, 199, 600} {
		refuses(t, checks.HTTP(checks.HTTPGet{URL: target, Status: bad}), "HTTPGet.Status is ")
	}
	refuses(t, checks.HTTP(checks.HTTPGet{URL: target, Status: 200, Judge: func(*http.Response) error { return nil }}), "Judge")
	refuses(t, checks.HTTP(checks.HTTPGet{ServiceHeader: "Server", Status: 7}), "HTTPGet.URL", "HTTPGet.Status", "no Service")

	res := checks.HTTP(checks.HTTPGet{URL: "ftp://probe:secret@shop.test"})(t.Context())
	assert.NotContains(t, res.Err.Error(), "secret")

	_, err := json.Marshal(checks.HTTPGet{URL: target})
	assert.NoError(t, err, "a config can be printed")
}

func TestHTTPOverSockets(t *testing.T) {
	before := runtime.NumGoroutine()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/hang" {
			<-req.Context().Done()
		}
		_, _ = io.WriteString(w, "fine")
	}))
	server.Config.ConnContext = func(ctx context.Context, _ netConn) context.Context {
		connections.Add(1)
		return ctx
	}
	server.Start()

	probe := checks.HTTP(checks.HTTPGet{URL: server.URL})
	for range 3 {
		finds(t, probe, healthcheck.Pass, nil, "")
	}
	assert.Equal(t, int64(3), connections.Load(), "a connection for each")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res := checks.HTTP(checks.HTTPGet{URL: server.URL + "/hang"})(ctx)
	assert.Equal(t, "no answer in time", res.Public)

	server.Close()
	res = finds(t, probe, healthcheck.Fail, nil, "no connection")
	assert.ErrorContains(t, res.Err, "refused")
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 30*time.Second, time.Millisecond,
		"nothing is left behind; Eventually itself runs one")
}

// TestPitfall20Identity: an address that is given to another service goes on to answer,
// and to answer 200.
func TestPitfall20Identity(t *testing.T) {
	bubble(t, "an address that is used again", func(t *testing.T) {
		var service atomic.Value
		service.Store("prices")
		probe := checks.HTTP(checks.HTTPGet{
			URL: "http://shop.test/healthz", Service: "prices",
			Transport: over(func(req *http.Request) (*http.Response, error) {
				return answers(200, http.NoBody, checks.DefaultServiceHeader, service.Load().(string))(req)
			}),
		})
		checker := healthcheck.MustNew(healthcheck.Config{})
		checker.MustAdd("prices", healthcheck.Check{Probe: probe, Period: time.Second, Timeout: 500 * time.Millisecond})
		require.NoError(t, checker.Start())
		defer func() { assert.NoError(t, checker.Close(t.Context())) }()
		synctest.Wait()
		assert.Equal(t, healthcheck.Pass, checker.Status("prices"))
		service.Store("mail")
		time.Sleep(5 * time.Second)
		assert.Equal(t, healthcheck.Fail, checker.Status("prices"))
		service.Store("prices")
		time.Sleep(5 * time.Second)
		assert.Equal(t, healthcheck.Pass, checker.Status("prices"))
	})
}
