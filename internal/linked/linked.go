// Package linked holds values in a row that they can leave from anywhere, in constant
// time. It is for rows under load: unlike those of container/list, places stand in the
// values themselves, so that nothing is allocated, and values have their type.
package linked

import "iter"

// Place is where a value stands in a List. Its zero value is in none.
type Place[V any] struct {
	prev, next *Place[V]
	value      V
}

// List is a row of values. Its zero value is empty. It is not safe for concurrent use,
// and not to be copied.
type List[V any] struct {
	first, last *Place[V]
	len         int
}

// Len returns how many values there are.
func (l *List[V]) Len() int { return l.len }

// First returns the value in front, or the zero value of an empty List.
func (l *List[V]) First() (v V) {
	if l.first != nil {
		v = l.first.value
	}
	return v
}

// Last returns the value at the end, or the zero value of an empty List.
func (l *List[V]) Last() (v V) {
	if l.last != nil {
		v = l.last.value
	}
	return v
}

// PushBack adds v at the end. Its place must be in no List.
func (l *List[V]) PushBack(at *Place[V], v V) { l.put(at, v, l.last, nil) }

// PushFront adds v in front. Its place must be in no List.
func (l *List[V]) PushFront(at *Place[V], v V) { l.put(at, v, nil, l.first) }

// put sets a value between two that are next to each other.
func (l *List[V]) put(at *Place[V], v V, prev, next *Place[V]) {
	*at = Place[V]{prev, next, v}
	*l.after(prev), *l.before(next) = at, at
	l.len++
}

// Remove takes out the value at a place of this List.
func (l *List[V]) Remove(at *Place[V]) {
	*l.after(at.prev), *l.before(at.next) = at.next, at.prev
	*at = Place[V]{}
	l.len--
}

// after is what points to the place behind one; behind none stands the first.
func (l *List[V]) after(at *Place[V]) **Place[V] {
	if at == nil {
		return &l.first
	}
	return &at.next
}

// before is what points to the place before one; before none stands the last.
func (l *List[V]) before(at *Place[V]) **Place[V] {
	if at == nil {
		return &l.last
	}
	return &at.prev
}

// All returns the values, the first one first. The one that was yielded last may leave
// meanwhile; no other may come or go.
func (l *List[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		for at := l.first; at != nil; {
			next := at.next
			if !yield(at.value) {
				return
			}
			at = next
		}
	}
}
