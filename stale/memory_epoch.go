package stale

import (
	"context"
	"slices"
)

// purges knows of every text the latest purge that may have concerned it. Texts
// share places, so that it needs no more room however many are purged, and forgets
// none. A place knows whose purge was the latest, and when another's was: what is
// fetched is refused for the sake of others only if two of them that share its place
// were purged meanwhile, and is stored the next time.
//
// The alternative is to remember the latest purges by their names. It needs room
// for names of any length, and refuses every fetch that is older than what it
// has forgotten: with many purges, all that are slow.
type purges struct {
	all    Epoch
	places []place // by hash; a power of two of them
}

// place is what is known of all texts with some bits of their hashes in common.
type place struct {
	hash   uint64 // of the one that was purged last
	latest Epoch
	others Epoch // the latest purge of any other
}

// note notes a purge.
func (p *purges) note(hash uint64, at Epoch) {
	place := p.place(hash)
	if place.hash != hash {
		place.hash, place.others = hash, place.latest
	}
	place.latest = at
}

func (p *purges) since(at Epoch, hash uint64) bool {
	place := p.place(hash)
	if place.hash == hash {
		return p.all > at || place.latest > at
	}
	return p.all > at || place.others > at
}

// place does not use the bits that choose the shard, of which all would be alike
// in small tables.
func (p *purges) place(hash uint64) *place {
	return &p.places[hash>>16%uint64(len(p.places))]
}

// Purge removes what is stored under the primary key, or softens it.
func (m *Memory) Purge(ctx context.Context, primary string, soft bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	hash := m.hash(primary)
	m.mu.Lock()
	defer m.mu.Unlock()

	m.purges.note(hash, m.nextEpoch())
	s := m.shard(hash)
	f := s.families[primary]
	if f.sole != nil {
		m.purge(s, f.sole, soft)
	}
	for _, it := range f.variants {
		m.purge(s, it, soft)
	}
	return nil
}

// PurgeAll does so for everything. It goes over all entries, and so does
// PurgeTag; Gets go on meanwhile, and Sets wait for a few milliseconds.
func (m *Memory) PurgeAll(ctx context.Context, soft bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()

	m.purges.all = m.nextEpoch()
	m.purgeIf(soft, func(*Entry) bool { return true })
	return nil
}

// PurgeTag does so for the entries that carry the tag. There is no index of
// tags: it would cost every Set, and this costs a few milliseconds.
func (m *Memory) PurgeTag(ctx context.Context, tag string, soft bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()

	m.purges.note(m.hashTag(tag), m.nextEpoch())
	m.purgeIf(soft, func(e *Entry) bool { return slices.Contains(e.Tags, tag) })
	return nil
}

func (m *Memory) nextEpoch() Epoch { return Epoch(m.epoch.Add(1)) }

func (m *Memory) purgeIf(soft bool, concerned func(*Entry) bool) {
	for _, q := range []*queue{&m.small, &m.main} {
		for it := range q.items.All() {
			if concerned(it.entry) {
				m.purge(m.shard(m.hash(it.key.Primary)), it, soft)
			}
		}
	}
}

func (m *Memory) purge(s *shard, it *item, soft bool) {
	switch {
	case !soft || it.entry.Mark != nil:
		m.remove(s, it)
	case !it.entry.Purged:
		s.put(it, softened(it.entry), it.expires)
	}
}

// softened returns a copy of e for when the origin fails.
func softened(e *Entry) *Entry {
	c := e.clone()
	c.Purged = true
	return c
}
