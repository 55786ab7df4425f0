package rttest

import (
	"net/http"
	"net/http/httptrace"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing/synctest"
	"time"
)

// attemptLeftRunningOwnsItsRequest: the caller may change his request once RoundTrip has returned
// and the body is closed, whoever still reads it.
func attemptLeftRunningOwnsItsRequest(tb TB, p policy) {
	b := newBase(first(stubbornly(answer(http.StatusOK)), answer(http.StatusOK)))
	req := newRequest(newCaller(), tb, http.MethodGet)
	req.Header["X-Many"] = []string{"one", "two"}

	call(tb, p.over(b), req).drop()
	synctest.Wait()

	left := running(b)
	for _, t := range left {
		if reflect.ValueOf(t.req.Header).Pointer() == reflect.ValueOf(req.Header).Pointer() {
			tb.Errorf("attempt %d has the header map of the caller", t.n)
		}
		if t.req.URL == req.URL {
			tb.Errorf("attempt %d has the URL of the caller", t.n)
		}
	}
	req.Header["X-Many"][1] = "changed"
	req.URL.Path = "/changed"
	for _, t := range left {
		if !reflect.DeepEqual(t.req.Header, t.header) {
			tb.Errorf("attempt %d sees what the caller does to his headers", t.n)
		}
		if *t.req.URL != t.url {
			tb.Errorf("attempt %d sees what the caller does to his URL", t.n)
		}
	}
	time.Sleep(2 * time.Hour)
	p.checkSettled(tb, b)
}

func running(b *base) []*trip {
	var left []*trip

	for _, t := range b.seen() {
		if !t.hasEnded() {
			left = append(left, t)
		}
	}
	return left
}

// traceHooks calls the hook of an attempt like http.Transport, which looks it up once.
func traceHooks(then script) script {
	return func(t *trip) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(t.req.Context())
		hook := func() {
			if trace != nil && trace.GotConn != nil {
				trace.GotConn(httptrace.GotConnInfo{})
			}
		}
		hook()
		defer hook()
		return then(t)
	}
}

// traceHooksAreSilent: hooks write into variables of the caller, who reads them once RoundTrip has
// returned. During the call they have to work.
func traceHooksAreSilent(tb TB, p policy) {
	var hits atomic.Int64

	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { hits.Add(1) }}
	ctx := httptrace.WithClientTrace(newCaller(), trace)
	b := newBase(traceHooks(first(stubbornly(answer(http.StatusOK)), answer(http.StatusOK))))

	res := call(tb, p.over(b), newRequest(ctx, tb, http.MethodGet))
	if hits.Swap(0) == 0 && !p.multiple { // of which another may be faster than the first
		tb.Errorf("the trace hooks were not called")
	}
	res.drop()
	time.Sleep(2 * time.Hour)
	if hits.Load() > 0 {
		tb.Errorf("a trace hook was called after the call")
	}
}

// panicSurfaces: a panic belongs to the goroutine that can recover it. On one of the policy's own it
// ends the process, and turned into an error it hides a defect; http.ErrAbortHandler is how a proxy
// gives a response up.
func panicSurfaces(tb TB, p policy) {
	for _, value := range []any{&trip{}, http.ErrAbortHandler} {
		cases := []scenario{
			{"at once", panicking(value)},
			{"after 503", first(answer(http.StatusServiceUnavailable), panicking(value))},
			{"after an error", first(fail(errBase), panicking(value))},
			{"beside a slow one", first(slowly(answer(http.StatusOK)), panicking(value))},
			{"after a while", slowly(panicking(value))},
		}
		for _, s := range cases {
			tb := in(tb, "%T %s", value, s.name)
			checkPanic(tb, p, s.script, value)
		}
	}
}

func checkPanic(tb TB, p policy, s script, value any) {
	tb.Helper()

	ctx := newCaller()
	req, sent := newUpload(ctx, tb, http.MethodPut)
	b := newBase(s)
	res := observe(p.over(b), req)
	res.drop()

	panicked := false
	for _, t := range b.seen() {
		panicked = panicked || t.panicked
	}
	if panicked && res.panicked != value {
		tb.Errorf("an attempt panicked with %v, its caller got %+v", value, res)
	}
	p.checkSettled(tb, b)
	sent.checkClosed(tb)
	ctx.checkReleased(tb)
}

// latePanicIsContained is about an attempt that nobody waits for any more: there is no caller left
// who could recover, and his answer is good.
func latePanicIsContained(tb TB, p policy) {
	ctx := newCaller()
	b := newBase(first(func(t *trip) (*http.Response, error) {
		err := t.wait(time.Hour, nil)
		if err == nil || t.base.count() == 1 {
			return nil, errBase
		}
		panic("rttest: too late to be recovered")
	}, answer(http.StatusOK)))

	res := observe(p.over(b), newRequest(ctx, tb, http.MethodGet))
	if res.panicked != nil {
		tb.Errorf("the panic of an attempt that lost reached the caller: %v", res.panicked)
	}
	res.finish(tb)
	p.checkSettled(tb, b)
	ctx.checkReleased(tb)
}

// goexitEndsTheCaller: a base that fails a test ends its goroutine. A policy that waits for an
// answer from it, on a goroutine of its own, waits for ever.
func goexitEndsTheCaller(tb TB, p policy) {
	exit := func(*trip) (*http.Response, error) {
		runtime.Goexit()
		return nil, nil
	}
	cases := []scenario{
		{"at once", exit},
		{"after 503", first(answer(http.StatusServiceUnavailable), exit)},
		{"after a while", slowly(exit)},
	}
	for _, s := range cases {
		tb := in(tb, "%s", s.name)
		ctx := newCaller()
		b := newBase(s.script)
		res := observe(p.over(b), newRequest(ctx, tb, http.MethodGet))
		res.drop()

		exited := !res.returned && res.panicked == nil
		if last := b.count(); !exited && (s.name != "after 503" || last > 1) {
			tb.Errorf("an attempt ended its goroutine, its caller got %+v", res)
		}
		p.checkSettled(tb, b)
		ctx.checkReleased(tb)
	}
}
