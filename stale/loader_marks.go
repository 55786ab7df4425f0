package stale

// mostMarks bounds how many keys without a value a Loader remembers the failures of.
const mostMarks = 10_000

// recent is a map that keeps the latest half of most keys at least, and most of them
// at most. The cache of the values would not do: when it is full it keeps what is
// asked for often, and a key that begins to fail is nobody it knows.
type recent[K comparable, V any] struct {
	most       int
	young, old map[K]V
}

func (r *recent[K, V]) get(key K) V {
	if value, ok := r.young[key]; ok {
		return value
	}
	return r.old[key]
}

func (r *recent[K, V]) put(key K, value V) {
	if r.young == nil || len(r.young) >= r.most/2 {
		r.young, r.old = make(map[K]V), r.young
	}
	delete(r.old, key)
	r.young[key] = value
}

func (r *recent[K, V]) remove(key K) {
	delete(r.young, key)
	delete(r.old, key)
}

func (r *recent[K, V]) clear() { r.young, r.old = nil, nil }

func (r *recent[K, V]) len() int { return len(r.young) + len(r.old) }
