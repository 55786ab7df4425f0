package attempt_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/internal/attempt"
)

func ranks(h *attempt.Hosts, hosts ...string) []int {
	got := make([]int, 0, len(hosts))
	for _, host := range hosts {
		got = append(got, h.Rank(host))
	}
	return got
}

func TestHostsRankByHowRecentlyTheyWereTried(t *testing.T) {
	h := new(attempt.Hosts)
	assert.Equal(t, []int{-1, -1}, ranks(h, "a", "b"))
	h.Add("a")
	h.Add("b")
	h.Add("c")
	assert.Equal(t, []int{0, 1, 2, -1}, ranks(h, "a", "b", "c", "d"))
	h.Add("a")
	assert.Equal(t, []int{2, 0, 1, -1}, ranks(h, "a", "b", "c", "d"), "tried again is tried last")
	h.Add("a")
	assert.Equal(t, []int{2, 0, 1, -1}, ranks(h, "a", "b", "c", "d"))
}

func TestHostsKeepNobodyOut(t *testing.T) {
	h := new(attempt.Hosts)
	h.Add("a")
	h.Add("")
	assert.Equal(t, []int{0, -1}, ranks(h, "a", ""))
}

func TestHostsAreComparedAsTheyAreSpelled(t *testing.T) {
	h := new(attempt.Hosts)
	h.Add("a:80")
	assert.Equal(t, []int{0, -1, -1}, ranks(h, "a:80", "A:80", "a"))
}

func TestNilHostsStayEmpty(t *testing.T) {
	var h *attempt.Hosts
	h.Add("a")
	assert.Equal(t, -1, h.Rank("a"))
}

func TestHostsAreSharedByHedgedAttempts(t *testing.T) {
	h := new(attempt.Hosts)
	hosts := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var all sync.WaitGroup
	for _, host := range hosts {
		all.Go(func() {
			for range 100 {
				h.Add(host)
				assert.GreaterOrEqual(t, h.Rank(host), 0)
			}
		})
	}
	all.Wait()
	got := ranks(h, hosts...)
	slices.Sort(got)
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7}, got, "each of them once")
}

func TestTryAddIsForTheFirstToChoose(t *testing.T) {
	h := new(attempt.Hosts)
	seen := h.Adds()
	assert.True(t, h.TryAdd("a", seen))
	assert.False(t, h.TryAdd("a", seen), "somebody else went there since")
	assert.True(t, h.TryAdd("b", seen), "nobody went there since")
	assert.Equal(t, []int{0, 1}, ranks(h, "a", "b"), "what was refused has changed nothing")
	seen = h.Adds()
	assert.True(t, h.TryAdd("a", seen), "it was tried before, and is tried again")
	assert.Equal(t, []int{1, 0}, ranks(h, "a", "b"))
	assert.False(t, h.TryAdd("a", seen))
	h.Add("b")
	assert.False(t, h.TryAdd("b", seen), "by whatever means")
	assert.True(t, h.TryAdd("", seen))
	assert.Equal(t, 4, h.Adds(), "an empty host is nobody")

	var none *attempt.Hosts
	assert.True(t, none.TryAdd("a", none.Adds()))
	assert.True(t, none.TryAdd("a", none.Adds()))
}

// As many look for one of as many hosts, and each finds one of its own.
func TestTryAddByManyAtOnce(t *testing.T) {
	hosts := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for range 100 {
		h, found := new(attempt.Hosts), make(chan string, len(hosts))
		start := make(chan struct{})
		var all sync.WaitGroup
		for range hosts {
			all.Go(func() {
				<-start
				for {
					adds := h.Adds()
					at := slices.IndexFunc(hosts, func(host string) bool { return h.Rank(host) < 0 })
					if h.TryAdd(hosts[at], adds) {
						found <- hosts[at]
						return
					}
				}
			})
		}
		close(start)
		all.Wait()
		close(found)
		var got []string
		for host := range found {
			got = append(got, host)
		}
		slices.Sort(got)
		require.Equal(t, hosts, got)
	}
}

// The model keeps every Add; what counts is the last of each host.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("abcabc"))
	f.Add([]byte("aaaa"))
	f.Add([]byte("a\x00b\x00a"))
	f.Fuzz(func(t *testing.T, script []byte) {
		const alphabet = 8
		name := func(op byte) string {
			if op%alphabet == 0 {
				return ""
			}
			return string('a' + rune(op%alphabet))
		}
		if len(script) > 200 {
			t.Skip() // the model would be slow, not the code
		}
		h := new(attempt.Hosts)
		var added []string
		for _, op := range script {
			h.Add(name(op))
			added = append(added, name(op))
			for i := range byte(alphabet) {
				require.Equal(t, rankIn(added, name(i)), h.Rank(name(i)))
			}
		}
	})
}

// rankIn counts the hosts whose last Add came before that of host.
func rankIn(added []string, host string) int {
	last := map[string]int{}
	for i, h := range added {
		last[h] = i
	}
	at, tried := last[host]
	if host == "" || !tried {
		return -1
	}
	rank := 0
	for h, i := range last {
		if h != "" && i < at {
			rank++
		}
	}
	return rank
}
