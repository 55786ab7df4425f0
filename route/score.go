package route

import (
	"math"
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
// lower one is the better. drawn says that the host's weight has had its say in its
// being drawn: then the request itself counts for one, whatever the weight, or a host of
// a small one would never be asked while there is little to do.
func (m *member) score(now int64, drawn bool, cfg *Config) float64 {
	since := float64(max(now-m.heard.Load(), 0))
	latency := fade(math.Float64frombits(m.latency.Load()), since, float64(cfg.Decay))
	inFlight := m.inFlight.Load()
	if latency == 0 && inFlight > 0 {
		latency = unknownLatency
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
	halvings := since / constant * math.Log2E
	if value == 0 || !(halvings > 0) {
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

// learn takes what a request tells of latency and troubles, and returns why the host
// might be ejected. What has failed, and what was given up, has taken at least that
// long: it may make a host look worse, and never better.
func (h *host) learn(took, now int64, o Outcome, cfg *Config) (why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
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
	usual := math.Float64frombits(h.usual.Load())
	switch {
	case o == Success && usual == 0: // what it was taken for is over
		latency, usual = sample, sample
	case o == Success:
		latency, usual = peak(latency, sample, since, decay), peak(usual, sample, since, decay)
	case latency > 0:
		latency = max(fade(latency, since, decay), sample)
	default:
		latency = max(unknownLatency, sample)
	}
	if o == Failure || o == Trouble {
		troubles = min(troubles+1, maxTroubles)
	}
	h.usual.Store(math.Float64bits(usual))
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
// of the host: twice as long as its answers take. How long it had no answer for does
// not count, or a host that hangs would earn the more patience the longer it does.
func (h *host) patience() int64 { return int64(2 * math.Float64frombits(h.usual.Load())) }
