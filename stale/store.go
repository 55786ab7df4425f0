package stale

import (
	"context"
	"errors"
	"time"
)

// Key names what a [Store] keeps. Primary stands for the URL, among other
// things; all variants of a response share it, and a purge takes all of them.
// What its text means is the Cache's business.
type Key struct {
	Primary string
	Variant string // "" for the first or only one, or for the list of the others
}

// Epoch is a moment in a Store's history of purges. It grows with every purge,
// of whatever: an entry whose fetch began before the purge that concerns it
// must not come back.
type Epoch uint64

// ErrPurged is what [Store.Set] returns for an entry that has been purged while
// it was being fetched.
var ErrPurged = errors.New("stale: purged while it was being fetched")

// Store keeps entries. The Cache treats every error, panic and delay (see
// [Config].StoreTimeout) as a miss, so a Store need not hide its troubles.
//
// All methods are called concurrently, and an Entry that went in or came out is
// shared with everybody: neither side changes it. Package storetest has the
// tests that a Store must pass.
type Store interface {
	// Get returns the entry of key, or nil without an error where there is none.
	Get(ctx context.Context, key Key) (*Entry, error)

	// Epoch returns the present epoch. It is asked at the start of a fetch.
	Epoch(ctx context.Context) (Epoch, error)

	// Set stores e until e.Expires or until its place is needed. It returns
	// ErrPurged, and stores nothing, if key.Primary, one of e.Tags or
	// everything was purged after the epoch at. When in doubt (a Store need not
	// remember purges for ever) it refuses.
	Set(ctx context.Context, key Key, e *Entry, at Epoch) error

	// Purge removes all entries under the primary key, whatever their variant.
	// A soft purge keeps them as copies with Purged set, for when the origin
	// fails, except for marks, which go. Either moves the epoch, also where
	// there is nothing to remove: it may be on its way.
	Purge(ctx context.Context, primary string, soft bool) error

	// PurgeAll does so for everything.
	PurgeAll(ctx context.Context, soft bool) error
}

// Tagger is a Store that can purge by what Entry.Tags names. Without it, purges
// by tag and the groups of RFC 9875 fail with [errors.ErrUnsupported].
type Tagger interface {
	PurgeTag(ctx context.Context, tag string, soft bool) error
}

// Leaser is a Store shared by several processes, which lets one of them refresh
// an entry while the others go on with the old one.
type Leaser interface {
	// Lease returns whether the caller is the one to refresh key within d.
	Lease(ctx context.Context, key Key, d time.Duration) (bool, error)
}

// Sizer is a Store that knows how much it holds, for the Snapshot.
type Sizer interface {
	Size() (entries int, bytes int64)
}
