package stale

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Purger returns a handler by which operators purge. It asks authorize first, which
// has to be given; mount it where the world cannot reach it all the same.
//
//	POST ?url=https://example.com/a     what is stored for a URL
//	POST ?key=…                         for a key of Config.Key
//	POST ?tag=news                      for all responses with that tag
//	POST ?all                           everything
//
// Fields may stand in the query or in a form. With hard=true what is purged is gone;
// without, it is kept for when the origin fails. PURGE and DELETE do as POST does. The
// answer is 204, or says what is wrong.
func (c *Cache) Purger(authorize func(*http.Request) bool) http.Handler {
	if authorize == nil {
		authorize = func(*http.Request) bool { return false }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch req.Method {
		case http.MethodPost, http.MethodDelete, "PURGE":
		default:
			w.Header().Set("Allow", "POST, DELETE, PURGE")
			http.Error(w, "stale: purging changes something: POST", http.StatusMethodNotAllowed)
			return
		}
		if !authorize(req) {
			http.Error(w, "stale: not authorised", http.StatusForbidden)
			return
		}
		const most = 64 << 10
		req.Body = http.MaxBytesReader(w, req.Body, most)
		if err := req.ParseForm(); err != nil {
			http.Error(w, "stale: cannot read the form", http.StatusBadRequest)
			return
		}
		switch err := c.purgeBy(req, req.Form); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, errors.ErrUnsupported):
			http.Error(w, err.Error(), http.StatusNotImplemented)
		case errors.As(err, new(*purgeError)):
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// purgeError says what is wrong with the request for a purge.
type purgeError struct{ text string }

func (e *purgeError) Error() string { return e.text }

// purgeBy does what a form asks for, which is exactly one thing.
func (c *Cache) purgeBy(req *http.Request, form url.Values) error {
	how, wanted := Soft, 0
	for field, values := range form {
		flag := field == "hard" || field == "all"
		switch {
		case field != "url" && field != "key" && field != "tag" && !flag:
			return &purgeError{fmt.Sprintf("stale: %q is no field of a purge: is something not escaped?", field)}
		case len(values) != 1, flag && values[0] != "" && values[0] != "true", !flag && values[0] == "":
			return &purgeError{fmt.Sprintf("stale: %s makes no sense as %q", field, values)}
		case field == "hard":
			how = Hard
		default:
			wanted++
		}
	}
	ctx := req.Context()
	switch {
	case wanted != 1:
		return &purgeError{"stale: one of url, key, tag and all is to be given"}
	case form.Has("url"):
		return c.PurgeURL(ctx, form.Get("url"), how)
	case form.Has("key"):
		return c.PurgeKey(ctx, form.Get("key"), how)
	case form.Has("tag"):
		return c.PurgeTag(ctx, form.Get("tag"), how)
	default:
		return c.PurgeAll(ctx, how)
	}
}
