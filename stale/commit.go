package stale

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// commit stores a response all of which is there.
func (c *Cache) commit(fl *flight, body []byte, trailer http.Header) {
	e := fl.entry()
	e.Body, e.Trailer, e.Took = body, trailer, time.Since(fl.begun)
	if len(trailer) == 0 && e.Status != http.StatusNoContent { // else the length cannot be announced on HTTP/1
		e.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.keep(fl, e, fl.res.terms.Vary)
}

// entry is the response of a flight as it is stored, but for its body.
func (fl *flight) entry() *Entry {
	header := policy.Stored(fl.res.header, fl.res.terms.Drop...)
	if header["Date"] == nil {
		header["Date"] = []string{fl.res.at.UTC().Format(http.TimeFormat)}
	}
	terms := &fl.res.terms
	return &Entry{
		Status: fl.res.status, Header: clipped(header), Asked: fl.res.asked,
		Sent: fl.begun, Received: fl.res.at,
		Tags:    terms.Groups,
		Expires: fl.res.at.Add(fl.c.keepFor(terms)),
	}
}

// keepFor is how long after its receipt somebody may have a use for a response.
func (c *Cache) keepFor(terms *policy.Terms) time.Duration {
	d := c.defaults
	if c.cfg.Healthy != nil {
		d.StaleWhileRevalidate = max(d.StaleWhileRevalidate, c.cfg.StaleIfSick)
	}
	return terms.Keep(d)
}

// clipped makes sure that who appends to a value that it shares gets a copy.
func clipped(header http.Header) http.Header {
	for name, values := range header {
		header[name] = slices.Clip(values)
	}
	return header
}

// renew returns what is stored with the fields of a 304 merged into it, and stores
// that.
func (c *Cache) renew(fl *flight, update http.Header, at time.Time) *Entry {
	x := fl.x
	e := x.stored.clone()
	e.Header = clipped(x.role.rules.Merge(x.stored.Header, update))
	if update["Date"] == nil {
		e.Header["Date"] = []string{at.UTC().Format(http.TimeFormat)}
	}
	e.Sent, e.Received, e.Took, e.Purged = fl.begun, at, at.Sub(fl.begun), false
	_, asked := x.asOf()
	terms := policy.Read(x.role.rules, http.MethodGet, asked, e.Status, e.Header, e.Sent, e.Received)
	e.Expires = at.Add(c.keepFor(&terms))
	e.Tags = terms.Groups
	e.Asked = x.asked(terms.Vary) // by which it may vary from now on
	if fl.held && terms.Reason == policy.None && !fl.answer.Degraded() {
		c.keep(fl, e, x.varyOf(e))
	}
	if terms.Reason != policy.None { // it must not be kept any more, not even for bad times
		_ = c.store.purge(fl.ctx, func(ctx context.Context) error { return c.store.Purge(ctx, x.key, false) })
	}
	return e
}

// heard lets the answer to a HEAD say whether the stored response to GET still holds
// (RFC 9111, section 4.3.5). One that names neither a validator nor a lifetime says
// nothing, and only a validator brings back what was purged.
func (fl *flight) heard(res *landing) {
	x, c := fl.x, fl.c
	if x.req.Method != http.MethodHead || res.status != http.StatusOK || x.stored == nil ||
		x.stored.Status != http.StatusOK || !fl.held || !x.isCurrent() {
		return
	}
	_, same := policy.UpdateFromHead(x.stored.Header, res.header)
	says := policy.HasValidator(res.header) && x.derived.terms.Validator ||
		!x.stored.Purged && res.terms.Lifetime > 0 && !res.terms.Heuristic
	switch {
	case !same:
		key := Key{Primary: x.key}
		if err := c.put(fl, key, softened(x.stored), x.varyOf(x.stored)); err != nil && !errors.Is(err, ErrPurged) {
			c.store.trouble(fl.ctx, "set", key, err)
		}
	case says:
		c.renew(fl, res.header, res.at)
	}
}

// varyOf is what a stored response varies by.
func (x *call) varyOf(e *Entry) []string { return e.derive(&x.role.rules).terms.Vary }

// keep puts an entry where requests like the one of fl will find it.
func (c *Cache) keep(fl *flight, e *Entry, vary []string) {
	e.derive(&fl.x.role.rules)
	key := Key{Primary: fl.x.key}
	switch err := c.put(fl, key, e, vary); {
	case errors.Is(err, ErrPurged):
		c.notStored(fl, "purged", false)
	case err != nil:
		c.store.trouble(fl.ctx, "set", key, err)
	default:
		c.counts.stored.Add(1)
		c.tell(fl.ctx, Event{Kind: Stored, Key: key.Primary, Bytes: e.Size()})
		c.unmark(fl)
	}
}

// put stores an entry, and where requests for one resource get different answers a
// list of these. It holds a lock, and so calls nobody but the Store.
func (c *Cache) put(fl *flight, key Key, e *Entry, vary []string) error {
	unlock := c.lockList(key.Primary)
	defer unlock()
	ctx := fl.ctx
	was, _ := c.store.find(ctx, key) // where that fails there is none
	sole := was != nil && was.Status != 0
	if e.Asked == "" && len(vary) == 0 && (sole || !hasPlain(was)) {
		return c.store.put(ctx, key, e, fl.epoch)
	}
	if sole && was.Asked == "" && len(vary) == 0 { // it is one of several from now on
		v := variantOf(nil, "")
		if c.store.put(ctx, Key{Primary: key.Primary, Variant: v.ID}, was, fl.epoch) == nil {
			was = &Entry{Variants: []Variant{v}, Expires: was.Expires}
		}
	}
	v := variantOf(vary, e.Asked)
	if err := c.store.put(ctx, Key{Primary: key.Primary, Variant: v.ID}, e, fl.epoch); err != nil {
		return err
	}
	return c.store.put(ctx, key, c.listing(was, v, e), fl.epoch)
}

// hasPlain reports whether a list has variants that differ by nothing that Vary
// names, but by what forwarding fields say.
func hasPlain(list *Entry) bool {
	return list != nil && slices.ContainsFunc(list.Variants, func(v Variant) bool { return len(v.Names) == 0 })
}

func variantOf(vary []string, asked string) Variant {
	return Variant{Names: vary, Asked: asked, ID: variantID(vary, asked)}
}

// listing is the list of variants with v as the latest.
func (c *Cache) listing(was *Entry, v Variant, e *Entry) *Entry {
	list := &Entry{Variants: []Variant{v}, Tags: e.Tags, Expires: e.Expires}
	if was == nil {
		return list
	}
	for _, other := range was.Variants {
		if other.ID != v.ID && len(list.Variants) < c.cfg.MaxVariants {
			list.Variants = append(list.Variants, other)
		}
	}
	if was.Expires.After(list.Expires) {
		list.Expires = was.Expires
	}
	return list
}

// variantID names a variant, without telling what is in the fields.
func variantID(vary []string, asked string) string {
	sum := sha256.Sum256([]byte(strings.Join(vary, ",") + "\n" + asked))
	return hex.EncodeToString(sum[:16])
}
