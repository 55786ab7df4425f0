package linked_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/linked"
)

// member is a value as owners have it.
type member struct {
	place linked.Place[*member]
	in    bool
}

func TestEmptyList(t *testing.T) {
	var l linked.List[*member]
	assert.Zero(t, l.Len())
	assert.Nil(t, l.First())
	assert.Nil(t, l.Last())
	assert.Empty(t, slices.Collect(l.All()))
}

func TestNothingIsKeptOfWhoHasLeft(t *testing.T) {
	var l linked.List[*member]
	m := new(member)
	l.PushBack(&m.place, m)
	l.Remove(&m.place)
	assert.Zero(t, *m)
	assert.Zero(t, l)
}

func TestTheOneYieldedMayLeave(t *testing.T) {
	var l linked.List[*member]
	members := make([]member, 10)
	for i := range members {
		l.PushBack(&members[i].place, &members[i])
	}
	n := 0
	for m := range l.All() {
		require.Same(t, &members[n], m)
		l.Remove(&m.place)
		n++
	}
	assert.Equal(t, 10, n)
	assert.Zero(t, l.Len())
}

func TestNothingIsAllocated(t *testing.T) {
	var l linked.List[*member]
	m := new(member)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		l.PushFront(&m.place, m)
		for other := range l.All() {
			l.Remove(&other.place)
		}
	}))
}

// FuzzList compares with a slice.
func FuzzList(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 2, 2, 1, 1, 3, 2, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var l linked.List[*member]
		var model []*member
		members := make([]member, 16)
		steps = steps[:min(len(steps), 2000)] // a megabyte would take seconds, and show nothing new
		for i := 0; i+1 < len(steps); i += 2 {
			m := &members[steps[i+1]%16]
			switch {
			case m.in:
				l.Remove(&m.place)
				model = slices.DeleteFunc(model, func(other *member) bool { return other == m })
			case steps[i]%2 == 0:
				l.PushBack(&m.place, m)
				model = append(model, m)
			default:
				l.PushFront(&m.place, m)
				model = slices.Insert(model, 0, m)
			}
			m.in = !m.in
			require.Equal(t, len(model), l.Len())
			require.True(t, slices.Equal(model, slices.Collect(l.All())))
			if len(model) > 0 {
				require.Same(t, model[0], l.First())
				require.Same(t, model[len(model)-1], l.Last())
			}
		}
	})
}
