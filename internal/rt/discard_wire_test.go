package rt_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

// get sends a GET and tells whether it went over a connection that was used before.
func get(t *testing.T, base http.RoundTripper, to string) (resp *http.Response, reused bool) {
	t.Helper()
	return getUnder(t.Context(), t, base, to)
}

func getUnder(
	ctx context.Context, t *testing.T, base http.RoundTripper, to string,
) (resp *http.Response, reused bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	ctx = context.WithValue(ctx, cancelKey{}, cancel)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
	require.NoError(t, err)
	resp, err = base.RoundTrip(req)
	require.NoError(t, err)
	return resp, reused
}

// compressed writes content in gzip and leaves what follows to the handler.
func compressed(w http.ResponseWriter, content string) *gzip.Writer {
	w.Header().Set("Content-Encoding", "gzip")
	zip := gzip.NewWriter(w)
	_, _ = io.WriteString(zip, content)
	_ = zip.Flush()
	_ = http.NewResponseController(w).Flush()
	return zip
}

// answers are the bodies that net/http makes in ways of their own. What they say must fit the bounds.
func answers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"none":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"with length": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "overload") },
		"just the bound": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(rt.DrainBytes))
			_, _ = io.WriteString(w, strings.Repeat("x", rt.DrainBytes))
		},
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, "overload")
				_ = http.NewResponseController(w).Flush()
			}
		},
		"gzip": func(w http.ResponseWriter, _ *http.Request) { _ = compressed(w, "overload").Close() },
		"with trailer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Checksum")
			_, _ = io.WriteString(w, "overload")
			w.Header().Set("Checksum", "1234")
		},
	}
}

func realServer(t *testing.T, http2 bool, handler http.Handler) (*http.Transport, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = http2
	start := server.Start
	if http2 {
		start = server.StartTLS
	}
	start()
	t.Cleanup(server.Close)
	return server.Client().Transport.(*http.Transport), server.URL
}

func TestDiscardedConnectionIsReused(t *testing.T) {
	for network, serve := range networks() {
		for answer, handler := range answers() {
			for way, discard := range discards() {
				bubble(t, network+"/"+answer+"/"+way, func(t *testing.T) {
					transport, start := serve(t, handler), time.Now()
					for i := range 3 {
						resp, reused := get(t, transport, "http://cart.test")
						assert.Equal(t, i > 0, reused)
						discard(t.Context(), resp)
					}
					synctest.Wait()
					assert.Zero(t, time.Since(start), "it waits for nothing that is there")
				})
			}
		}
	}
}

// On a busy machine a drain may take longer than it has, and rightly gives up; not every time, though.
func TestDiscardedRealConnectionIsReused(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for answer, handler := range answers() {
			for way, discard := range discards() {
				t.Run(strconv.FormatBool(http2)+"/"+answer+"/"+way, func(t *testing.T) {
					transport, url := realServer(t, http2, handler)
					reused := false
					for i := 0; i < 20 && !reused; i++ {
						var resp *http.Response
						resp, reused = get(t, transport, url)
						assert.Equal(t, http2, resp.ProtoMajor == 2)
						discard(t.Context(), resp)
					}
					assert.True(t, reused)
				})
			}
		}
	}
}

func TestKeptAnswersSayWhatTheyWouldHaveSaid(t *testing.T) {
	for network, serve := range networks() {
		for answer, handler := range answers() {
			bubble(t, network+"/"+answer, func(t *testing.T) {
				transport := serve(t, handler)
				direct, _ := get(t, transport, "http://cart.test")
				want, err := io.ReadAll(direct.Body)
				require.NoError(t, err)
				require.NoError(t, direct.Body.Close())

				kept, _ := get(t, transport, "http://cart.test")
				keep(t.Context(), kept)
				assert.Equal(t, direct.Trailer, kept.Trailer, "trailers are there at once")
				got, err := io.ReadAll(kept.Body)
				require.NoError(t, err)
				assert.Equal(t, want, got)
				assert.Equal(t, direct.Trailer, kept.Trailer)
			})
		}
	}
}

func TestKeptAnswerHasItsTrailers(t *testing.T) {
	for network, serve := range networks() {
		bubble(t, network, func(t *testing.T) {
			resp, _ := get(t, serve(t, answers()["with trailer"]), "http://cart.test")
			keep(t.Context(), resp)
			assert.Equal(t, "1234", resp.Trailer.Get("Checksum"))
		})
	}
}

func TestTooLargeConnectionIsGivenUp(t *testing.T) {
	for way, discard := range discards() {
		t.Run(way, func(t *testing.T) {
			transport, url := realServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(10*rt.DrainBytes))
				_, _ = io.WriteString(w, strings.Repeat("x", 10*rt.DrainBytes))
			}))
			for range 2 {
				resp, reused := get(t, transport, url)
				assert.False(t, reused)
				discard(t.Context(), resp)
			}
		})
	}
}

// stalls are the answers that begin and do not go on.
func stalls() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"at once": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "the first of it")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"gzip, at once": unzipped,
		"gzip": func(w http.ResponseWriter, r *http.Request) {
			compressed(w, "the first of it")
			<-r.Context().Done()
		},
	}
}

// unzipped is a gzip answer of which nothing comes after the headers. While net/http waits for the
// first bytes of such a body, even its Close waits for them.
func unzipped(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestStalledAnswerIsGivenUpInTime(t *testing.T) {
	for network, serve := range networks() {
		for stall, handler := range stalls() {
			for way, discard := range discards() {
				bubble(t, network+"/"+stall+"/"+way, func(t *testing.T) {
					left := make(chan struct{})
					transport := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(left)
						handler(w, r)
					}))
					resp, _ := get(t, transport, "http://cart.test")
					start := time.Now()
					discard(t.Context(), resp)
					assert.Equal(t, rt.DrainTime, time.Since(start))
					<-left // the server has seen that nobody reads any more
				})
			}
		}
	}
}

func TestStalledAnswerIsGivenUpWithItsCaller(t *testing.T) {
	for network, serve := range networks() {
		for stall, handler := range stalls() {
			bubble(t, network+"/"+stall, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				resp, _ := getUnder(ctx, t, serve(t, handler), "http://cart.test")
				time.AfterFunc(rt.DrainTime-1, func() { cancel(errTabClosed) })
				start := time.Now()
				keep(ctx, resp)
				assert.Equal(t, rt.DrainTime-1, time.Since(start))
				rest, err := io.ReadAll(resp.Body)
				require.ErrorIs(t, err, rt.ErrBodyDropped)
				assert.Contains(t, "the first of it", string(rest))
			})
		}
	}
}

// For the race detector: callers leave while bodies stall, end and are closed, on real sockets.
func TestDrainingRacesWithItsCaller(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for stall, handler := range stalls() {
			t.Run(strconv.FormatBool(http2)+"/"+stall, func(t *testing.T) {
				transport, url := realServer(t, http2, handler)
				var all sync.WaitGroup
				for i := range 8 {
					ctx, cancel := context.WithCancel(t.Context())
					resp, _ := getUnder(ctx, t, transport, url)
					time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
					all.Go(func() {
						defer cancel()
						hook := &told{}
						rt.OnBodyEnd(resp, nil, hook)
						keep(ctx, resp)
						assert.NotEmpty(t, hook.all())
						_, err := io.Copy(io.Discard, resp.Body)
						assert.ErrorIs(t, err, rt.ErrBodyDropped)
					})
				}
				all.Wait()
			})
		}
	}
}
