package rttest

import (
	"net/http"
	"net/url"
	"reflect"
)

// snapshot is a request as it was before the call.
type snapshot struct {
	fields  http.Request
	url     url.URL
	header  http.Header
	trailer http.Header
}

func takeSnapshot(req *http.Request) snapshot {
	return snapshot{*req, *req.URL, req.Header.Clone(), req.Trailer.Clone()}
}

// check reports what has changed since. Maps and pointers must be the same ones, too: a caller that
// kept them would write into the void.
func (s snapshot) check(tb TB, req *http.Request) {
	tb.Helper()

	before, now := reflect.ValueOf(s.fields), reflect.ValueOf(*req)
	for i := range before.NumField() {
		if !same(before.Field(i), now.Field(i)) {
			tb.Errorf("the field %s of the request was modified", before.Type().Field(i).Name)
		}
	}
	if !reflect.DeepEqual(s.header, req.Header) {
		tb.Errorf("the headers of the request were modified: %v, before %v", req.Header, s.header)
	}
	if !reflect.DeepEqual(s.trailer, req.Trailer) {
		tb.Errorf("the trailers of the request were modified: %v, before %v", req.Trailer, s.trailer)
	}
	if s.url != *req.URL {
		tb.Errorf("the URL of the request was modified: %v, before %v", req.URL, &s.url)
	}
}

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Func, reflect.Map, reflect.Slice:
		return a.Pointer() == b.Pointer()
	default:
		return a.Equal(b)
	}
}

// requestIsNotModified looks at the request whenever an attempt arrives and after the call. Only
// the body may be consumed.
func requestIsNotModified(tb TB, p policy) {
	for _, s := range scenarios() {
		tb := in(tb, "%s", s.name)
		req, _ := newUpload(newCaller(), tb, http.MethodPut)
		req.Host = "virtual.example"
		req.Header["X-Many"] = []string{"one", "two"}
		req.Form = url.Values{"parsed": {"before"}}
		before := takeSnapshot(req)
		rt := p.over(newBase(func(t *trip) (*http.Response, error) {
			before.check(in(tb, "when attempt %d arrived", t.n), req)
			return s.script(t)
		}))

		res := call(tb, rt, req)
		before.check(in(tb, "when the call returned"), req)
		res.finish(tb)
		before.check(in(tb, "when the response was closed"), req)
	}
}
