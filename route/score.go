package route

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// unknownLatency is what a host's is taken for from its first request on until it has
// answered one. Before, it is taken for nothing, so that it is asked: others may be
// quicker than any guess.
const unknownLatency = float64(100 * time.Millisecond)

// troubleTime is in which troubles fade. There are no more than maxTroubles: what all
// have is to level them, and a host that had many is to be asked again within seconds.
const (
	troubleTime = 5 * time.Second
	maxTroubles = 20
)

// score is how long a newcomer would wait at a host, more or less: the host with the
// lower one is the better. What a host has not answered yet has taken that long at
// least, and counts: of one that hangs nothing else is ever heard, and what it took
// before fades. drawn says that the host's weight has had its say in its
// being drawn: then the request itself counts for one, whatever the weight, or a host of
// a small one would never be asked while there is little to do.
func (m *member) score(now int64, drawn bool, cfg *Config) float64 {
	since := float64(max(now-m.heard.Load(), 0))
	latency := fade(math.Float64frombits(m.latency.Load()), since, float64(cfg.Decay))
	inFlight := m.inFlight.Load()
	if latency == 0 && inFlight > 0 {
		latency = unknownLatency
	}
	if m.picks.Load() > m.learned.Load() {
		latency = max(latency, float64(now-max(m.heard.Load(), m.waits.Load())))
	}
	troubles := fade(math.Float64frombits(m.troubles.Load()), since, float64(troubleTime))
	load := float64(inFlight)
	if drawn {
		load = load/m.part + 1
	} else {
		load = (load + 1) / m.part
	}
	return latency * load * (1 + 4*troubles) / m.started(now, cfg)
}

// fade is how much is left of a value after a time: exp(-since/constant), within half a
// percent, at a fifth of its price. A curve of another kind, however cheap, would not do:
// in two steps as much must fade as in one, or the mere keeping of a host's books would
// make it look better.
func fade(value, since, constant float64) float64 {
	if value == 0 {
		return 0
	}
	halvings := since / constant * math.Log2E
	if !(halvings > 0) {
		return value
	}
	if halvings >= 1000 { // where the exponent of a float64 ends
		return 0
	}
	whole := uint64(halvings)
	part := halvings - float64(whole)
	// The quadratic through 1, the root of a half, and a half.
	curve := 1 - (0.6715728752538099-0.1715728752538099*part)*part
	return value * curve * math.Float64frombits((1023-whole)<<52)
}

// started is how far a host has come since it came, or came back, from a tenth to 1.
func (m *member) started(now int64, cfg *Config) float64 {
	if cfg.SlowStart == Off {
		return 1
	}
	return min(max(float64(now-m.since.Load())/float64(cfg.SlowStart), 0.1), 1)
}

// begin takes that a request is sent.
func (h *host) begin(now int64) {
	if h.picks.Load() <= h.learned.Load() {
		h.waits.Store(now)
	}
	h.picks.Add(1)
	h.inFlight.Add(1)
}

// learn takes what a request tells of latency and troubles, and returns why the host
// might be ejected. What has failed, and what was given up, has taken at least that
// long: it may make a host look worse, and never better.
func (h *host) learn(took, now int64, o Outcome, cfg *Config) (why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learned.Store(h.learned.Load() + 1)
	h.rate(float64(max(took, 0)), now, o, cfg)
	return h.count(o, now, cfg)
}

// broke takes that an answer broke off which was taken for a success.
func (h *host) broke(now int64, cfg *Config) (why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rate(0, now, Failure, cfg)
	h.good = max(h.good-1, 0)
	return h.count(Failure, now, cfg)
}

// rate needs the lock.
func (h *host) rate(sample float64, now int64, o Outcome, cfg *Config) {
	since, decay := float64(max(now-h.heard.Load(), 0)), float64(cfg.Decay)
	latency := math.Float64frombits(h.latency.Load())
	troubles := fade(math.Float64frombits(h.troubles.Load()), since, float64(troubleTime))
	switch {
	case o == Success && (h.usual == 0 || since >= decay): // what it was taken for is over
		latency = sample
	case o == Success:
		latency = peak(latency, sample, since, decay)
	case latency > 0:
		latency = max(fade(latency, since, decay), sample)
	default:
		latency = max(unknownLatency, sample)
	}
	if o == Failure || o == Trouble {
		troubles = min(troubles+1, maxTroubles)
	}
	if o == Success {
		h.usual = peak(h.usual, sample, float64(max(now-h.answered, 0)), decay)
		h.answered = now
	}
	h.latency.Store(math.Float64bits(latency))
	h.troubles.Store(math.Float64bits(troubles))
	h.heard.Store(now)
}

// peak follows a sample that is higher at once, and one that is lower slowly.
func peak(value, sample, since, decay float64) float64 {
	if sample > value {
		return sample
	}
	return sample + fade(value-sample, since, decay)
}

// patience is how long a caller must wait for a host before its leaving says something
// of the host: twice as long as its answers take, and as long as those of its peers do,
// or none could serve it. How long it had no answer for does not count, or a host that
// hangs would earn the more patience the longer it does; and while it has none, what it
// took is forgotten, down to what its peers take, or one that was slow once could hang
// for ever. Of one that has not answered yet nothing is known but what its peers take.
func (h *host) patience(now int64, peers float64, cfg *Config) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	usual := h.usual
	switch {
	case usual == 0 && peers == 0:
		usual = unknownLatency
	case usual == 0:
		usual = peers
	case peers > 0 && usual > peers:
		usual = peers + fade(usual-peers, float64(now-h.answered), float64(cfg.Decay))
	}
	return int64(max(2*usual, peers))
}

// patience is that of a host among the others as they are now.
func (p *Pool) patience(h *host, now int64) int64 {
	return h.patience(now, p.view.Load().usual(h), &p.cfg)
}

// somePeers is how many of the other hosts are asked for what their answers take: there
// may be thousands, and each request that times out wants to know.
const somePeers = 15

// usual is the median of what answers take at some of the other hosts, or 0.
func (v *view) usual(but *host) float64 {
	known := make([]float64, 0, somePeers)
	first := rand.IntN(len(v.members))
	for i := range min(len(v.members), somePeers+1) {
		if m := v.members[(first+i)%len(v.members)]; m.host != but {
			m.mu.Lock()
			if m.usual > 0 {
				known = append(known, m.usual)
			}
			m.mu.Unlock()
		}
	}
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return known[len(known)/2]
}
