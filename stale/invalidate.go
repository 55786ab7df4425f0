package stale

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/failsoft/failsoft/stale/internal/policy"
)

// Purge is what to do with what is purged.
type Purge uint8

// The ways to purge.
const (
	// Soft keeps what is purged for when the origin fails, and for nothing else.
	Soft Purge = iota
	// Hard removes it.
	Hard
)

// purgeTimeout bounds a purge of a remote Store: it is worth more waiting than a
// lookup.
const purgeTimeout = 5 * time.Second

// PurgeURL purges all that is stored for a URL, behind all doors, whatever its
// variants. The URL is absolute; Handler's are found by http and https alike. With a
// Config.Key, PurgeKey is the one to call. It returns the Store's errors.
func (c *Cache) PurgeURL(ctx context.Context, rawURL string, how Purge) error {
	if c.cfg.Key != nil {
		return &purgeError{"stale: with a Config.Key, what is stored is found by PurgeKey"}
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return &purgeError{fmt.Sprintf("stale: purge of %q, which is not an absolute URL", rawURL)}
	}
	keys := []string{keyOf(c.client.prefix, u.Scheme, u)}
	for _, scheme := range []string{"http", "https"} {
		keys = append(keys, keyOf(c.server.prefix, scheme, u))
	}
	return c.purgeKeys(ctx, how, keys...)
}

func keyOf(prefix, scheme string, u *url.URL) string {
	return policy.Key(prefix, scheme, u.Host, u)
}

// PurgeKey purges all that is stored under a key of Config.Key, behind all doors.
func (c *Cache) PurgeKey(ctx context.Context, key string, how Purge) error {
	return c.purgeKeys(ctx, how, c.client.prefix+key, c.server.prefix+key)
}

// PurgeTag purges all responses that name tag in Cache-Groups (RFC 9875). It returns
// errors.ErrUnsupported if the Store cannot do that.
func (c *Cache) PurgeTag(ctx context.Context, tag string, how Purge) error {
	tagger, ok := c.store.Store.(Tagger)
	if !ok {
		return fmt.Errorf("stale: purge by tag: %w", errors.ErrUnsupported)
	}
	c.purged(ctx, "", "tag "+tag)
	defer c.detach(everything) // what tags an answer will have is not known while it is being fetched
	return c.store.purge(ctx, func(ctx context.Context) error { return tagger.PurgeTag(ctx, tag, how == Soft) })
}

// PurgeAll purges everything.
func (c *Cache) PurgeAll(ctx context.Context, how Purge) error {
	c.purged(ctx, "", "everything")
	defer c.detach(everything)
	return c.store.purge(ctx, func(ctx context.Context) error { return c.store.PurgeAll(ctx, how == Soft) })
}

func everything(string) bool { return true }

func (c *Cache) purgeKeys(ctx context.Context, how Purge, keys ...string) error {
	wrong := make([]error, 0, len(keys))
	for _, key := range keys {
		c.purged(ctx, key, "")
		wrong = append(wrong, c.store.purge(ctx, func(ctx context.Context) error {
			return c.store.Purge(ctx, key, how == Soft)
		}))
	}
	c.detach(func(key string) bool { return slices.Contains(keys, key) })
	return errors.Join(wrong...)
}

func (c *Cache) purged(ctx context.Context, key, detail string) {
	c.counts.purges.Add(1)
	c.tell(ctx, Event{Kind: Purged, Key: key, Detail: detail})
}

// purge makes a call of the Store that purges.
func (g *guard) purge(ctx context.Context, do func(context.Context) error) error {
	if g.local {
		return do(ctx)
	}
	_, err := limited(ctx, g, purgeTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	if err != nil {
		g.trouble(ctx, "purge", Key{}, err)
	}
	return err
}

// invalidates purges what an answer to an unsafe method has made doubtful: its own
// URL, and those on the same origin that it names (RFC 9111, section 4.4), and the
// groups that it names (RFC 9875).
func (x *call) invalidates(status int, header http.Header) {
	method := x.req.Method
	if policy.IsSafe(method) || method == "" || !policy.Invalidates(method, status) {
		return
	}
	ctx := context.WithoutCancel(x.req.Context())
	base := x.role.urlOf(x.req)
	keys := []string{keyOf(x.role.prefix, base.Scheme, base)}
	if x.c.cfg.Key != nil {
		if key := x.c.cfg.Key(x.req); key != "" {
			keys = append(keys, x.role.prefix+key)
		}
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if ref := header.Get(name); ref != "" {
			if u, same := policy.SameOrigin(base, ref); same {
				keys = append(keys, keyOf(x.role.prefix, base.Scheme, u))
			}
		}
	}
	_ = x.c.purgeKeys(ctx, Soft, keys...) // told as events; the answer to the client stands
	for _, group := range policy.ReadGroups(header, "Cache-Group-Invalidation") {
		_ = x.c.PurgeTag(ctx, group, Soft)
	}
}

// tellAnswer tells that an entry answers.
func (x *call) tellAnswer(r *reply) {
	if x.c.cfg.Observe != nil {
		x.c.tell(x.req.Context(), Event{Kind: Hit, Key: x.key, Reason: r.reason, Age: r.verdict.Age})
	}
}
