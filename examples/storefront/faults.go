package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// phase is a part of the script: what is wrong, and for how much of its calls.
type phase struct {
	name  string
	short string // under the live picture: less than 8 letters

	stalls  string  // the upstream whose first replica accepts calls and never answers
	silent  bool    // all upstreams accept calls and never answer
	failing float64 // the share of attempts that are answered with 503, anywhere
	slower  float64 // how many times longer answers take, everywhere

	from, load float64 // times what a front can serve that are asked for, at first and in the end; 0 is no matter
}

// phases is the script, in order. All phases are equally long.
func phases() []phase {
	return []phase{
		{name: "calm", short: "calm", slower: 1},
		{name: "one replica stalls", short: "stall", slower: 1, stalls: "catalogue"},
		{name: "errors", short: "errors", slower: 1, failing: 0.1},
		{name: "slow everywhere", short: "slow", slower: 8},
		{name: "blackout", short: "dark", slower: 1, silent: true},
		// Caches are cold, and some of what is behind them is not up yet.
		{name: "recovery", short: "recover", slower: 3, failing: 0.1},
	}
}

// script says what goes wrong when. It is a pure function of the time, the
// replica, and the draw of the attempt, so that both sides meet the same faults.
type script struct {
	phases []phase
	length time.Duration // of a phase
	seed   uint64
}

func newScript(total time.Duration, seed uint64) script {
	p := phases()
	return script{phases: p, length: total / time.Duration(len(p)), seed: seed}
}

func (s script) total() time.Duration { return s.length * time.Duration(len(s.phases)) }

// at returns the index of the phase at a time since the start. The last phase
// goes on for as long as anybody asks.
func (s script) at(elapsed time.Duration) int {
	return max(0, min(int(elapsed/s.length), len(s.phases)-1))
}

// span returns when a phase begins and ends, since the start.
func (s script) span(phase int) (begin, end time.Duration) {
	begin = time.Duration(phase) * s.length
	return begin, begin + s.length
}

// stalledReplica is the number of the replica that does, where one does.
const stalledReplica = 0

// forever is longer than any caller waits.
const forever = time.Hour

// effect is what the script does to one attempt.
type effect struct {
	delay  time.Duration
	status int
}

// effect returns what happens to an attempt for a visitor that reaches a
// replica of an upstream, elapsed after the start. The same attempt of both
// sides draws the same luck, another attempt of the same visitor its own.
func (s script) effect(elapsed time.Duration, u upstream, replica, visitor, attempt int) effect {
	p := s.phases[s.at(elapsed)]
	if p.silent || p.stalls == u.name && replica == stalledReplica {
		return effect{delay: forever}
	}
	luck := s.luck("attempt", u.name, strconv.Itoa(visitor), strconv.Itoa(attempt))
	if luck.Float64() < p.failing {
		return effect{delay: time.Millisecond, status: http.StatusServiceUnavailable}
	}
	// Log-normal, as response times tend to be: no upper end, one in a thousand
	// takes nine times the median.
	const sigma = 0.7
	factor := p.slower * math.Exp(sigma*luck.NormFloat64())
	return effect{delay: time.Duration(float64(u.median) * factor), status: http.StatusOK}
}

// luck returns random numbers that belong to what is named, whenever and in
// whatever order they are asked for.
func (s script) luck(names ...string) *rand.Rand {
	hash := fnv.New64a()
	for _, name := range names {
		_, _ = hash.Write([]byte(name + "\x00"))
	}
	return rand.New(rand.NewPCG(s.seed, hash.Sum64()))
}
