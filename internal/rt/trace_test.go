package rt_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/rt"
)

var errHook = errors.New("of a hook")

// hooks are how net/http calls each of them, and what arrives.
var hooks = map[string]struct {
	call func(*httptrace.ClientTrace) error
	args []any
}{
	"GetConn": {
		func(c *httptrace.ClientTrace) error { c.GetConn("h:1"); return nil },
		[]any{"h:1"},
	},
	"GotConn": {
		func(c *httptrace.ClientTrace) error {
			c.GotConn(httptrace.GotConnInfo{Reused: true, IdleTime: 3})
			return nil
		},
		[]any{httptrace.GotConnInfo{Reused: true, IdleTime: 3}},
	},
	"PutIdleConn": {
		func(c *httptrace.ClientTrace) error { c.PutIdleConn(errReset); return nil },
		[]any{errReset},
	},
	"GotFirstResponseByte": {
		func(c *httptrace.ClientTrace) error { c.GotFirstResponseByte(); return nil },
		nil,
	},
	"Got100Continue": {
		func(c *httptrace.ClientTrace) error { c.Got100Continue(); return nil },
		nil,
	},
	"Got1xxResponse": {
		func(c *httptrace.ClientTrace) error {
			return c.Got1xxResponse(103, textproto.MIMEHeader{"Link": {"x"}})
		},
		[]any{103, textproto.MIMEHeader{"Link": {"x"}}},
	},
	"DNSStart": {
		func(c *httptrace.ClientTrace) error { c.DNSStart(httptrace.DNSStartInfo{Host: "h"}); return nil },
		[]any{httptrace.DNSStartInfo{Host: "h"}},
	},
	"DNSDone": {
		func(c *httptrace.ClientTrace) error {
			c.DNSDone(httptrace.DNSDoneInfo{Addrs: []net.IPAddr{{Zone: "z"}}})
			return nil
		},
		[]any{httptrace.DNSDoneInfo{Addrs: []net.IPAddr{{Zone: "z"}}}},
	},
	"ConnectStart": {
		func(c *httptrace.ClientTrace) error { c.ConnectStart("tcp", "a:1"); return nil },
		[]any{"tcp", "a:1"},
	},
	"ConnectDone": {
		func(c *httptrace.ClientTrace) error { c.ConnectDone("tcp", "a:1", errReset); return nil },
		[]any{"tcp", "a:1", errReset},
	},
	"TLSHandshakeStart": {
		func(c *httptrace.ClientTrace) error { c.TLSHandshakeStart(); return nil },
		nil,
	},
	"TLSHandshakeDone": {
		func(c *httptrace.ClientTrace) error {
			c.TLSHandshakeDone(tls.ConnectionState{ServerName: "s"}, errReset)
			return nil
		},
		[]any{tls.ConnectionState{ServerName: "s"}, errReset},
	},
	"WroteHeaderField": {
		func(c *httptrace.ClientTrace) error { c.WroteHeaderField("K", []string{"v"}); return nil },
		[]any{"K", []string{"v"}},
	},
	"WroteHeaders": {
		func(c *httptrace.ClientTrace) error { c.WroteHeaders(); return nil },
		nil,
	},
	"Wait100Continue": {
		func(c *httptrace.ClientTrace) error { c.Wait100Continue(); return nil },
		nil,
	},
	"WroteRequest": {
		func(c *httptrace.ClientTrace) error {
			c.WroteRequest(httptrace.WroteRequestInfo{Err: errReset})
			return nil
		},
		[]any{httptrace.WroteRequestInfo{Err: errReset}},
	},
}

// listen sets one hook of trace, by its name, to one that records its arguments.
func listen(t *testing.T, trace *httptrace.ClientTrace, hook string) (heard *[][]any) {
	t.Helper()
	heard = new([][]any)
	field := reflect.ValueOf(trace).Elem().FieldByName(hook)
	require.True(t, field.IsValid(), "no hook %s in this Go", hook)
	field.Set(reflect.MakeFunc(field.Type(), func(args []reflect.Value) []reflect.Value {
		var got []any
		for _, arg := range args {
			got = append(got, arg.Interface())
		}
		*heard = append(*heard, got)
		results := make([]reflect.Value, field.Type().NumOut())
		for i := range results {
			results[i] = reflect.ValueOf(&errHook).Elem()
		}
		return results
	}))
	return heard
}

func TestTraceGateLetsEachHookPassUntilItIsClosed(t *testing.T) {
	for name, hook := range hooks {
		t.Run(name, func(t *testing.T) {
			var trace httptrace.ClientTrace
			var gate rt.TraceGate
			heard := listen(t, &trace, name)
			gated := gate.Wrap(&trace)
			for range 2 {
				err := hook.call(gated)
				if name == "Got1xxResponse" {
					assert.Same(t, errHook, err, "which ends the request")
				}
			}
			assert.Equal(t, [][]any{hook.args, hook.args}, *heard)
			gate.Close()
			assert.NoError(t, hook.call(gated))
			assert.Len(t, *heard, 2)
			assert.NoError(t, hook.call(gate.Wrap(&trace)), "wrapped when it is too late")
			assert.Len(t, *heard, 2)
			_ = hook.call(&trace)
			assert.Len(t, *heard, 3, "the caller's own hooks are as they were")
		})
	}
}

// A new Go may bring a new hook: it passes the gate as long as Wrap does not know
// it, so that this test, of all fields there are, is the one to tell.
func TestTraceGateKnowsAllHooks(t *testing.T) {
	fields := reflect.TypeFor[httptrace.ClientTrace]()
	for i := range fields.NumField() {
		field := fields.Field(i)
		if _, known := hooks[field.Name]; !known {
			t.Errorf("httptrace.ClientTrace.%s is new: add it to TraceGate.Wrap and to this test", field.Name)
			continue
		}
		var trace httptrace.ClientTrace
		var gate rt.TraceGate
		heard := listen(t, &trace, field.Name)
		gated := reflect.ValueOf(gate.Wrap(&trace)).Elem()
		gate.Close()
		args := make([]reflect.Value, field.Type.NumIn())
		for n := range args {
			args[n] = reflect.Zero(field.Type.In(n))
		}
		gated.Field(i).Call(args)
		assert.Empty(t, *heard, "%s is not behind the gate", field.Name)
		for other := range fields.NumField() {
			assert.Equal(t, other == i, !gated.Field(other).IsNil(), "%s: hooks that are not set stay so", field.Name)
		}
	}
	assert.Len(t, hooks, fields.NumField())
}

func TestTraceGateCloseDoesNotWaitForARunningHook(t *testing.T) {
	var gate rt.TraceGate
	running, end := make(chan struct{}), make(chan struct{})
	gated := gate.Wrap(&httptrace.ClientTrace{GotFirstResponseByte: func() {
		close(running)
		<-end
	}})
	go gated.GotFirstResponseByte()
	<-running
	gate.Close() // or who closes it before end would wait for ever
	close(end)
	assert.NotPanics(t, gate.Close)
}

func TestTraceGateCloseDoesNotWaitForAHookThatPanicked(t *testing.T) {
	var gate rt.TraceGate
	gated := gate.Wrap(&httptrace.ClientTrace{GetConn: func(string) { panic("of a hook") }})
	assert.Panics(t, func() { gated.GetConn("h") })
	gate.Close()
	gate.Close()
	assert.NotPanics(t, func() { gated.GetConn("h") })
}

func TestTraceGateIsClosedWhileHooksRun(t *testing.T) {
	var gate rt.TraceGate
	var over atomic.Bool
	gated := gate.Wrap(&httptrace.ClientTrace{WroteHeaders: func() {
		if over.Load() {
			t.Error("a hook after the end")
		}
	}})
	var all sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		all.Go(func() {
			gated.WroteHeaders()
			started <- struct{}{}
			for range 1000 {
				gated.WroteHeaders()
			}
		})
	}
	<-started
	gate.Close()
	over.Store(true)
	all.Wait()
}
