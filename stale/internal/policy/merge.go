package policy

import "net/http"

// SameRepresentation says whether a 304 that answers the conditions which
// Validators has set is about the stored response, RFC 9111, 4.3.4. If it is not,
// the response must be fetched without conditions.
//
// A 304 that names another entity tag is not, if we had asked by date too: the
// origin may have gone by that, and a file can change twice in a second. If we
// had asked by nothing but the stored tag, only that tag can have matched, and
// what the 304 says instead is noise; RFC 9111 would have us fetch again then.
func SameRepresentation(stored, update http.Header) bool {
	was, tagged := entityTag(stored)
	byDate := len(stored[lastModified]) > 0
	if is, ok := entityTag(update); ok {
		switch {
		case !tagged:
			return false
		case !byDate:
			return true
		case isWeak(is):
			return opaque(is) == opaque(was)
		default:
			return is == was
		}
	}
	return !byDate || len(update[lastModified]) == 0 || sameChange(stored, update)
}

func sameChange(stored, update http.Header) bool {
	if stored[lastModified][0] == update[lastModified][0] {
		return true
	}
	was, ok := lastChange(stored)
	is, known := lastChange(update)
	return ok && known && is.Equal(was)
}

// Merge is the header of the stored response after the 304 or the HEAD that
// freshened it, RFC 9111, 3.2: a new map, whose values may be shared with both.
// What update says replaces what was said before, except for what describes the
// stored body, which update has not seen. Date and Age speak of a moment: those
// of the old answer do not outlive it, and without a Date in update there is
// none.
func Merge(stored, update http.Header) http.Header {
	merged := make(http.Header, len(stored)+len(update))
	for name, lines := range stored {
		if name != "Date" && name != "Age" {
			merged[name] = lines
		}
	}
	fresh := update.Clone()
	StripHopByHop(fresh)
	for name, lines := range fresh {
		if !describesBody(name) {
			merged[name] = lines
		}
	}
	StripHopByHop(merged)
	return merged
}

// Merge is [Merge] without the fields that the cache would not store: those that
// no-cache= and private= except, and cookies, which are meant for the one whose
// request has caused the 304.
func (r Rules) Merge(stored, update http.Header) http.Header {
	merged := Merge(stored, update)
	c := readControl(r, merged)
	for _, name := range dropped(r, &c) {
		delete(merged, name)
	}
	if r.Shared && !r.StoreSetCookie {
		delete(merged, "Set-Cookie")
	}
	return merged
}

func describesBody(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5",
		"Content-Digest", "Repr-Digest", "Digest", "Etag":
		return true
	default:
		return false
	}
}

// UpdateFromHead is what a 200 to a HEAD means for the stored response to a GET,
// RFC 9111, 4.3.5: its header from then on, or false where the two are not the
// same any more, so that the stored one is no longer fresh.
func UpdateFromHead(stored, update http.Header) (http.Header, bool) {
	for _, name := range [...]string{"Etag", lastModified, "Content-Length"} {
		is := update[name]
		if len(is) > 0 && len(stored[name]) > 0 && is[0] != stored[name][0] {
			return nil, false
		}
	}
	return Merge(stored, update), true
}
