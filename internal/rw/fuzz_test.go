package rw_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rw"
)

// play is a handler made of bytes: each one is something that handlers do.
func play(w http.ResponseWriter, program []byte) {
	for i, op := range program {
		size := int(op>>3) * 40
		switch op & 7 {
		case 0:
			_, _ = w.Write(bytes.Repeat([]byte{'w'}, size))
		case 1:
			_, _ = io.WriteString(w, strings.Repeat("s", size))
		case 2:
			_, _ = io.Copy(w, strings.NewReader(strings.Repeat("c", size))) // Has WriteTo.
		case 3:
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("r", size))})
		case 4:
			_ = http.NewResponseController(w).Flush()
		case 5:
			w.WriteHeader([]int{103, 200, 204, 304, 404, 500, 503, 102}[op>>3&7])
		case 6:
			w.Header().Add("Test", string('a'+op>>3&15))
		case 7:
			if i == 0 {
				w.Header().Set("Content-Length", []string{"10", "100", "1000", "0"}[op>>3&3])
			}
		}
	}
}

var date = regexp.MustCompile(`(?m)^Date: .*\r\n`)

// FuzzUnchanged compares what a real server sends with and without a wrapper,
// and both with what the wrapper saw. net/http is the model.
func FuzzUnchanged(f *testing.F) {
	for _, seed := range []string{
		"\x08", "\x25\x08", "\x05\x25\x0b", "\x03\x25", "\x7b\xfb",
		"\x0f\x0b", "\x04\x15\x38", "\x6b\x6b", "\x26\x04\x26\xf8",
	} {
		f.Add([]byte(seed))
	}

	var seen *rw.Response
	var tee []byte
	hook := func(status int, h http.Header) { h.Set("Hook", http.StatusText(status)) }
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		program, err := hex.DecodeString(r.URL.Query().Get("p"))
		if err != nil {
			f.Error(err)
		}
		switch r.URL.Path {
		case "/plain":
			w, seen = rw.Wrap(w, rw.Hooks{})
		case "/header":
			w, seen = rw.Wrap(w, rw.Hooks{Header: hook})
		case "/tee":
			tee = nil
			w, seen = rw.Wrap(w, rw.Hooks{
				Header: hook,
				Body:   func(p []byte) { tee = append(tee, p...) },
			})
		}
		play(w, program)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // What is superfluous is logged.
	server.Start()
	f.Cleanup(server.Close)

	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 64 {
			return
		}
		bare := ask(t, server, "/bare", program)
		plain := ask(t, server, "/plain", program)
		assert.Equal(t, string(bare), string(plain), "without hooks, every byte is the same")

		if len(program) > 0 && program[0]&7 == 7 {
			return // A Content-Length that lies is found out by Write, and by ReadFrom only sometimes.
		}
		want, body := final(t, bare)
		assert.Equal(t, want.StatusCode, max(seen.Status(), 200), "the status seen")

		for _, hooks := range []string{"/header", "/tee"} {
			got, gotBody := final(t, ask(t, server, hooks, program))
			assert.Equal(t, want.StatusCode, got.StatusCode, hooks)
			assert.Equal(t, want.StatusCode, max(seen.Status(), 200), hooks)
			assert.Equal(t, body, gotBody, hooks)
			assert.Equal(t, int64(len(body)), seen.Written(), hooks)
			assert.Equal(t, want.Header["Test"], got.Header["Test"], hooks)
			if seen.Status() != 0 {
				assert.Equal(t, http.StatusText(want.StatusCode), got.Header.Get("Hook"), "the hook ran in time")
			}
		}
		assert.Equal(t, body, string(tee), "the body seen")
	})
}

// ask returns every byte that the server sends before it closes, but the date.
func ask(t *testing.T, server *httptest.Server, path string, program []byte) []byte {
	t.Helper()

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "GET "+path+"?p="+hex.EncodeToString(program)+
		" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	return date.ReplaceAll(all, nil)
}

// final skips the informational responses. A body that is cut short, as it is
// when a handler writes less than its Content-Length, is taken as it is.
func final(t *testing.T, raw []byte) (*http.Response, string) {
	t.Helper()

	wire := bufio.NewReader(bytes.NewReader(raw))
	for {
		resp, err := http.ReadResponse(wire, nil)
		require.NoError(t, err)
		if resp.StatusCode < 200 {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return resp, string(body)
	}
}
