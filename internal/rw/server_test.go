package rw_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

// protocols start a server of each kind that net/http has.
var protocols = map[string]func(*httptest.Server){
	"HTTP/1.1": func(s *httptest.Server) { s.Start() },
	"HTTP/2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	"h2c": func(s *httptest.Server) {
		var only http.Protocols
		only.SetUnencryptedHTTP2(true)
		s.Config.Protocols = &only
		s.Start()
		s.Client().Transport.(*http.Transport).Protocols = &only
	},
}

type getter func(context.Context) *http.Response

// onEach runs the handler behind two layers of ours, and hands the client's
// answer and what the outer layer saw to check.
func onEach(t *testing.T, handle http.HandlerFunc, check func(*testing.T, getter, func() *rw.Response)) {
	t.Helper()

	for proto, start := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()

			last := make(chan *rw.Response, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner, seen := rw.Wrap(w, rw.Hooks{})
				defer func() { last <- seen }()
				outer, _ := rw.Wrap(inner, rw.Hooks{Header: func(int, http.Header) {}})
				handle(outer, r)
			}))
			start(server)
			t.Cleanup(server.Close)

			get := func(ctx context.Context) *http.Response {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
				require.NoError(t, err)
				resp, err := server.Client().Do(req)
				require.NoError(t, err)
				t.Cleanup(func() { _ = resp.Body.Close() })
				return resp
			}
			check(t, get, func() *rw.Response { return <-last })
		})
	}
}

func readAll(t *testing.T, body io.Reader) string {
	t.Helper()

	all, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(all)
}

func TestServerStreams(t *testing.T) {
	t.Parallel()

	for name, flush := range map[string]func(http.ResponseWriter) error{
		"Flusher":    func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil },
		"controller": func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			read := make(chan struct{}, len(protocols))
			var step atomic.Int32
			onEach(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "first")
				if err := flush(w); err != nil {
					t.Errorf("flush: %v", err)
				}
				select {
				case <-read:
					step.Add(1)
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "second")
			}, func(t *testing.T, get getter, seen func() *rw.Response) {
				resp := get(t.Context())
				first := make([]byte, len("first"))
				_, err := io.ReadFull(resp.Body, first)
				require.NoError(t, err)
				read <- struct{}{}
				assert.Equal(t, "second", readAll(t, resp.Body))
				assert.True(t, seen().Flushed())
			})
		})
	}
}

func TestServerImpliesTheStatus(t *testing.T) {
	t.Parallel()

	for name, tt := range map[string]struct {
		handle func(http.ResponseWriter)
		want   int
	}{
		"nothing": {func(http.ResponseWriter) {}, 0},
		"Write":   {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, 200},
		"Flush":   {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, 200},
		"Copy":    {func(w http.ResponseWriter) { io.Copy(w, strings.NewReader(strings.Repeat("x", 1000))) }, 200},
		"late": {func(w http.ResponseWriter) {
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("")})
			w.WriteHeader(http.StatusTeapot)
		}, 418},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(w http.ResponseWriter, _ *http.Request) { tt.handle(w) },
				func(t *testing.T, get getter, seen func() *rw.Response) {
					resp := get(t.Context())
					body := readAll(t, resp.Body)
					s := seen()
					assert.Equal(t, tt.want, s.Status())
					assert.Equal(t, max(tt.want, 200), resp.StatusCode)
					assert.Equal(t, int64(len(body)), s.Written())
				})
		})
	}
}

func TestServerForwardsInformational(t *testing.T) {
	t.Parallel()

	onEach(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
	}, func(t *testing.T, get getter, seen func() *rw.Response) {
		var hints atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && header.Get("Link") != "" {
					hints.Add(1)
				}
				return nil
			},
		})
		assert.Equal(t, http.StatusNotFound, get(ctx).StatusCode)
		assert.EqualValues(t, 2, hints.Load())
		assert.Equal(t, http.StatusNotFound, seen().Status())
	})
}

func TestServerController(t *testing.T) {
	t.Parallel()

	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline":  controller.SetReadDeadline(time.Now().Add(time.Hour)),
			"SetWriteDeadline": controller.SetWriteDeadline(time.Now().Add(time.Hour)),
			"EnableFullDuplex": controller.EnableFullDuplex(),
			"Flush":            controller.Flush(),
		} {
			if err != nil {
				t.Errorf("%s %s: %v", r.Proto, name, err)
			}
		}
		_, isReaderFrom := w.(io.ReaderFrom)
		_, isHijacker := w.(http.Hijacker)
		if want := r.ProtoMajor == 1; isReaderFrom != want || isHijacker != want {
			t.Errorf("%s: io.ReaderFrom %t, http.Hijacker %t", r.Proto, isReaderFrom, isHijacker)
		}
		if r.ProtoMajor == 2 {
			if _, _, err := controller.Hijack(); err == nil {
				t.Error("HTTP/2 was hijacked")
			}
		}
	}, func(t *testing.T, get getter, seen func() *rw.Response) {
		assert.Equal(t, http.StatusOK, get(t.Context()).StatusCode)
		assert.False(t, seen().Hijacked())
	})
}
