package memnet

import (
	"errors"
	"log/slog"
	"net/http"
)

// TB is what the servers ask of the test that runs them; *testing.T satisfies it.
type TB interface {
	Helper()
	Cleanup(fn func())
	Errorf(format string, args ...any)
}

// Server serves handler over HTTP/1.1 until the test ends, and returns a transport to which every
// http URL is an URL of that server. What the server would log is dropped.
func Server(tb TB, handler http.Handler) *http.Transport {
	tb.Helper()

	var protocols http.Protocols

	protocols.SetHTTP1(true)

	return start(tb, handler, &protocols)
}

// ServerH2C is [Server] over unencrypted HTTP/2.
func ServerH2C(tb TB, handler http.Handler) *http.Transport {
	tb.Helper()

	var protocols http.Protocols

	protocols.SetUnencryptedHTTP2(true)

	return start(tb, handler, &protocols)
}

func start(tb TB, handler http.Handler, protocols *http.Protocols) *http.Transport {
	tb.Helper()

	listener := Listen()
	transport := &http.Transport{DialContext: listener.Dial, Protocols: protocols}
	server := &http.Server{ //nolint:gosec // Slow clients are what some tests are about.
		Handler:   handler,
		Protocols: protocols,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	served := make(chan error, 1)

	go func() { served <- server.Serve(listener) }()

	tb.Cleanup(func() {
		transport.CloseIdleConnections()

		if err := server.Close(); err != nil {
			tb.Errorf("memnet: close the server: %v", err)
		}

		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("memnet: serve: %v", err)
		}
	})

	return transport
}
