package backpressure

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// said is something that a throttle is to remember.
type said struct {
	at            int64
	held, yes, no bool
}

// FuzzThrottle compares the sums that fade with the things themselves, all of which the
// model keeps.
func FuzzThrottle(f *testing.F) {
	f.Add(byte(20), byte(30), []byte{0, 1, 1, 1, 1, 1, 1, 1, 3, 200, 0, 2, 2, 7, 0})
	f.Add(byte(11), byte(1), []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 8, 2, 2, 2, 2, 2, 2, 0})
	// Nine of ten but for what has nearly faded: the pause that begins, and the one that ends.
	f.Add(byte(20), byte(1), slices.Concat([]byte{2, 179, 2, 2, 2}, bytes.Repeat([]byte{21}, 27), []byte{80}))
	f.Add(byte(20), byte(1), slices.Concat([]byte{2, 179}, bytes.Repeat([]byte{21}, 27), []byte{2, 2, 2, 80}))
	f.Fuzz(func(t *testing.T, ratio, window byte, script []byte) {
		if len(script) > 300 {
			t.Skip()
		}
		cfg := ThrottleConfig{Ratio: max(float64(ratio)/10, 1.1), Window: time.Duration(max(window, 1)) * 100 * time.Millisecond}
		if cfg.complete() != nil {
			t.Skip()
		}
		c, m := new(throttleCell), &throttleModel{cfg: cfg}
		for _, op := range script {
			switch arg := op / 4; op % 4 {
			case 0:
				draw := float64(arg) / 64
				after, why := c.ask(m.now, &cfg, draw)
				want, near := m.ask(draw)
				if !near {
					assert.Equal(t, want, why)
				}
				assert.Equal(t, why != 0, after > 0)
				if why != 0 {
					m.all = append(m.all, said{at: m.now, held: true})
				}
			case 1, 2:
				wait := time.Duration(arg) * time.Second
				c.answer(m.now, &cfg, op%4 == 2, wait)
				m.answer(op%4 == 2, wait, c.paused)
			case 3:
				m.now += int64(arg) * int64(arg) * int64(time.Millisecond)
			}
			// Time that comes in the wrong order changes nothing much.
			c.decay(m.now-int64(time.Hour), cfg.Window)
		}
	})
}

type throttleModel struct {
	cfg    ThrottleConfig
	now    int64
	paused int64
	all    []said
}

func (m *throttleModel) sum(counts func(said) bool) (sum float64) {
	for _, s := range m.all {
		if counts(s) {
			sum += math.Exp(-float64(m.now-s.at) / float64(m.cfg.Window))
		}
	}
	return sum
}

func (m *throttleModel) share() (answers, refusals float64) {
	answers = m.sum(func(s said) bool { return s.yes || s.no })
	return answers, m.sum(func(s said) bool { return s.no })
}

func (m *throttleModel) ask(draw float64) (why Refusal, near bool) {
	const rounding = 1e-6
	requests := m.sum(func(said) bool { return true })
	accepts := m.sum(func(s said) bool { return s.yes })
	held := (requests - m.cfg.Ratio*accepts - m.cfg.Window.Seconds()) / (requests + 1)
	switch {
	case m.now < m.paused && draw < 0.95:
		return Paused, false
	case draw < min(held, 0.95):
		why = Throttled
	}
	return why, math.Abs(draw-held) < rounding
}

// answer takes what the cell has made of the pause, too, which counts where rounding decides.
func (m *throttleModel) answer(yes bool, wait time.Duration, paused int64) {
	const rounding = 1e-6
	m.all = append(m.all, said{at: m.now, yes: yes, no: !yes})
	answers, refusals := m.share()
	excess := refusals - 0.9*answers
	enough := !yes && wait > 0 && answers >= 20-rounding
	to := int64(0)
	if !yes {
		to = max(m.paused, m.now+int64(min(wait, m.cfg.MaxPause)))
	}
	switch {
	case enough && math.Abs(answers-20) < rounding && excess > -rounding, (yes || enough) && math.Abs(excess) < rounding:
		if paused == to {
			m.paused = to
		}
	case yes && excess < 0, enough && excess >= 0:
		m.paused = to
	}
}
