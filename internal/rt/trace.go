package rt

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// TraceGate stands between the caller's httptrace hooks and an attempt that may
// go on after its call is over: the caller does not expect them to run then.
// Until it is closed, hooks run as they would without it. The zero gate is open.
type TraceGate struct{ closed atomic.Bool }

// Close shuts the gate: no hook begins any more. It does not wait for one that is
// running, which may well wait for the caller.
func (g *TraceGate) Close() { g.closed.Store(true) }

// run runs a hook while the gate is open.
func (g *TraceGate) run(hook func()) {
	if !g.closed.Load() {
		hook()
	}
}

// Wrap returns trace with each of its hooks behind the gate.
func (g *TraceGate) Wrap(trace *httptrace.ClientTrace) *httptrace.ClientTrace {
	gated := *trace // hooks that a later Go adds pass ungated rather than get lost
	if f := trace.GetConn; f != nil {
		gated.GetConn = func(hostPort string) { g.run(func() { f(hostPort) }) }
	}
	if f := trace.GotConn; f != nil {
		gated.GotConn = func(info httptrace.GotConnInfo) { g.run(func() { f(info) }) }
	}
	if f := trace.PutIdleConn; f != nil {
		gated.PutIdleConn = func(err error) { g.run(func() { f(err) }) }
	}
	if f := trace.GotFirstResponseByte; f != nil {
		gated.GotFirstResponseByte = func() { g.run(f) }
	}
	if f := trace.Got100Continue; f != nil {
		gated.Got100Continue = func() { g.run(f) }
	}
	if f := trace.Got1xxResponse; f != nil {
		gated.Got1xxResponse = func(code int, header textproto.MIMEHeader) (err error) {
			g.run(func() { err = f(code, header) })
			return err
		}
	}
	g.wrapDial(trace, &gated)
	g.wrapWrite(trace, &gated)
	return &gated
}

// wrapDial wraps the hooks around making a connection.
func (g *TraceGate) wrapDial(trace, gated *httptrace.ClientTrace) {
	if f := trace.DNSStart; f != nil {
		gated.DNSStart = func(info httptrace.DNSStartInfo) { g.run(func() { f(info) }) }
	}
	if f := trace.DNSDone; f != nil {
		gated.DNSDone = func(info httptrace.DNSDoneInfo) { g.run(func() { f(info) }) }
	}
	if f := trace.ConnectStart; f != nil {
		gated.ConnectStart = func(network, addr string) { g.run(func() { f(network, addr) }) }
	}
	if f := trace.ConnectDone; f != nil {
		gated.ConnectDone = func(network, addr string, err error) { g.run(func() { f(network, addr, err) }) }
	}
	if f := trace.TLSHandshakeStart; f != nil {
		gated.TLSHandshakeStart = func() { g.run(f) }
	}
	if f := trace.TLSHandshakeDone; f != nil {
		gated.TLSHandshakeDone = func(state tls.ConnectionState, err error) { g.run(func() { f(state, err) }) }
	}
}

// wrapWrite wraps the hooks around sending a request.
func (g *TraceGate) wrapWrite(trace, gated *httptrace.ClientTrace) {
	if f := trace.WroteHeaderField; f != nil {
		gated.WroteHeaderField = func(key string, value []string) { g.run(func() { f(key, value) }) }
	}
	if f := trace.WroteHeaders; f != nil {
		gated.WroteHeaders = func() { g.run(f) }
	}
	if f := trace.Wait100Continue; f != nil {
		gated.Wait100Continue = func() { g.run(f) }
	}
	if f := trace.WroteRequest; f != nil {
		gated.WroteRequest = func(info httptrace.WroteRequestInfo) { g.run(func() { f(info) }) }
	}
}

// Detach returns ctx with its httptrace hooks, if it has some, behind the gate.
func (g *TraceGate) Detach(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return ctx
	}
	return httptrace.WithClientTrace(untraced{ctx}, g.Wrap(trace))
}

// untraced hides httptrace hooks, or WithClientTrace would call them, too.
type untraced struct{ context.Context }

func (u untraced) Value(key any) any {
	value := u.Context.Value(key)
	if _, hooks := value.(*httptrace.ClientTrace); hooks {
		return nil
	}
	return value
}
