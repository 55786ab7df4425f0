package backpressure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const tick = time.Millisecond

// steps takes n readings of the same, and returns what is shed after the last.
func (c *control) steps(n int, load float64, wait time.Duration) (shed float64) {
	for range n {
		shed = c.step(load, wait, tick)
	}
	return shed
}

func TestControlWantsBothANumberAndATime(t *testing.T) {
	for name, tt := range map[string]struct {
		load  float64
		wait  time.Duration
		sheds bool
	}{
		"many, for long":         {40, 400 * tick, true},
		"many, and gone at once": {40, 19 * tick, false},
		"few, for long":          {1.9, time.Minute, false},
		"just as many, as long":  {2, 20 * tick, false},
		"a little more":          {2.1, 21 * tick, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := control{threshold: 2}
			assert.Equal(t, tt.sheds, c.steps(10_000, tt.load, tt.wait) > 0)
		})
	}
}

func TestControlRisesByATenthPerReading(t *testing.T) {
	c := control{threshold: 2}
	for n := range 9 {
		assert.InDelta(t, 0.1*float64(n+1), c.step(1e6, forever, time.Minute), 1e-9, "however bad, and long ago")
	}
	assert.InDelta(t, mostShed, c.step(1e6, forever, time.Minute), 1e-9)
	assert.InDelta(t, mostShed, c.steps(1000, 1e6, forever), 1e-9)
}

func TestControlForgetsOneTerribleReading(t *testing.T) {
	c := control{threshold: 2}
	c.step(1e6, forever, tick)
	assert.InDelta(t, 4.0/200, c.integral, 1e-9, "as one of five times what there may be")
	assert.Zero(t, c.step(0, 0, tick))
	assert.Zero(t, c.steps(5, 1, forever))
}

func TestControlOpensWithinATenthOfASecond(t *testing.T) {
	c := control{threshold: 2}
	c.steps(60_000, 1e6, forever)
	assert.InDelta(t, mostShed-gain, c.step(0, 0, tick), 0.01, "a half at once")
	assert.Positive(t, c.steps(80, 0, 0))
	assert.Zero(t, c.steps(20, 0, 0))
	c.steps(60_000, 1e6, forever)
	assert.Zero(t, c.step(0, 0, shedTime), "or after one reading, if it is old")
}

func TestControlRemembersWhatWasNeeded(t *testing.T) {
	c := control{threshold: 2}
	c.steps(100, 4, forever) // twice as much for half of shedTime
	assert.InDelta(t, 0.5, c.steps(100, 2, forever), 0.01)
	c.forget()
	assert.Zero(t, c.steps(100, 2, forever))
}

// FuzzControl checks what holds whatever the readings are.
func FuzzControl(f *testing.F) {
	f.Add([]byte{0, 0, 0, 255, 255, 255, 1, 2, 3}, uint16(2))
	f.Add([]byte{40, 200, 1, 40, 200, 1, 0, 0, 255, 0, 0, 255}, uint16(500))
	f.Fuzz(func(t *testing.T, readings []byte, threshold uint16) {
		c := control{threshold: float64(threshold)/256 + 0.01}
		was := 0.0
		readings = readings[:min(len(readings), 10_000)] // a megabyte takes seconds
		for ; len(readings) >= 3; readings = readings[3:] {
			load, wait := float64(readings[0]), time.Duration(readings[1])*tick
			since := time.Duration(1) << (readings[2] % 42) // up to more than an hour
			learned := c.integral
			shed := c.step(load, wait, since)
			require.True(t, shed >= 0 && shed <= mostShed, "%v", shed)
			require.LessOrEqual(t, shed, was+mostRise)
			if c.pressure(load, wait) <= 1 {
				require.LessOrEqual(t, c.integral, learned)
				require.LessOrEqual(t, shed, c.integral)
			}
			was = shed
		}
		opened := c
		require.Zero(t, opened.step(0, 0, shedTime))
		require.InDelta(t, mostShed, c.steps(2000, 1e9, forever), 1e-9, "and nothing wears out")
	})
}

// asked lets requests of classes come, and tells traffic of it.
func asked(tr *traffic, since time.Duration, ranks ...int) {
	of := [classes]Class{Critical, Default, Sheddable, Background}
	for rank, n := range ranks {
		for range n {
			tr.count(of[rank])
		}
	}
	tr.tick(since, since)
}

func TestTrafficPlacesOfClassesDoNotOverlap(t *testing.T) {
	for _, mix := range [][]int{{}, {1000}, {0, 1000}, {0, 0, 0, 1000}, {1, 10, 100, 1000}, {5, 0, 5, 0}} {
		t.Run(fmt.Sprint(mix), func(t *testing.T) {
			var tr traffic
			asked(&tr, tick, mix...)
			last := 0.0
			for _, class := range []Class{Critical, Default, Sheddable, Background} {
				highest := last
				for tenant := range uint64(1000) {
					p := tr.place(&request{class: class, tenant: tenant, known: tenant%2 == 0})
					require.True(t, last <= p && p <= 1, "%v: %v", class, p)
					highest = max(highest, p)
				}
				last = highest
			}
		})
	}
}

func TestTrafficGivesEachClassItsPart(t *testing.T) {
	var tr traffic
	for range 3000 {
		asked(&tr, tick, 0, 3, 0, 1)
	}
	var places int
	for range 10_000 {
		if tr.place(&request{}) < 0.5 {
			places++
		}
	}
	assert.InDelta(t, 6667, places, 300, "Default is three quarters")
	assert.Greater(t, tr.place(&request{class: Background, known: true}), 0.74)
	for range 3000 {
		asked(&tr, tick, 0, 0, 0, 4)
	}
	assert.Less(t, tr.place(&request{class: Background, known: true}), 0.1, "a mix that is over is forgotten")
}

func TestTrafficKnowsHowLongTheyWait(t *testing.T) {
	var tr traffic
	assert.Equal(t, forever, tr.wait(0), "nobody has come")
	assert.Equal(t, forever, tr.wait(5))
	for range 1000 {
		asked(&tr, tick, 0, 2) // 2,000 a second
	}
	assert.InDelta(t, 0.010, tr.wait(20).Seconds(), 1e-4, "20 / 2,000 s")
	for range 1000 { // one a minute, each of which finds that there has been a pause
		tr.count(Default)
		tr.tick(time.Minute, loadTime)
	}
	assert.InDelta(t, 0.1, tr.wait(20).Seconds(), 1e-4, "as if one came each 5 ms")
}

// machine is a processor that serves requests in turn, those that are refused as well.
type machine struct {
	gate    *cpuGate
	random  *rand.Rand
	now     time.Duration
	queue   []time.Duration // when each has come
	next    time.Duration   // when the next one comes
	work    time.Duration
	refusal time.Duration

	good, served, refused int
}

func newMachine(work, refusal time.Duration) *machine {
	m := &machine{gate: new(cpuGate), random: rand.New(rand.NewPCG(1, 2)), work: work, refusal: refusal}
	m.gate.init(DefaultCPUThreshold, func() float64 { return float64(len(m.queue)) }, func(any) {})
	m.gate.procs = 1
	return m
}

func (m *machine) drawn(mean time.Duration) time.Duration {
	return time.Duration(m.random.ExpFloat64() * float64(mean))
}

// run lets requests come, one in each gap in the mean, and none if it is 0.
func (m *machine) run(length, gap time.Duration) {
	m.good, m.served, m.refused = 0, 0, 0
	end := m.now + length
	for m.next = m.now; m.now < end; {
		for gap > 0 && m.next <= m.now {
			m.queue = append(m.queue, m.next)
			m.next += m.drawn(gap)
		}
		if len(m.queue) == 0 {
			m.now = end
			if gap > 0 {
				m.now = m.next
			}
			continue
		}
		came := m.queue[0]
		m.queue = m.queue[1:]
		if !m.gate.passes(&request{tenant: m.random.Uint64(), known: true}, int64(m.now)) {
			m.now += m.refusal
			m.refused++
			continue
		}
		m.now += m.drawn(m.work)
		if m.served++; m.now-came < max(100*tick, 10*m.work) {
			m.good++
		}
	}
}

// What the gate is for: twice as much, and more, as a processor can do.
func TestPitfallProcessorBoundServiceStaysUseful(t *testing.T) {
	for _, work := range []time.Duration{50 * time.Microsecond, 300 * time.Microsecond, tick, 4 * tick, 20 * tick} {
		for _, times := range []float64{0.5, 0.8, 1.2, 2, 4} {
			t.Run(fmt.Sprintf("%v, %v times the capacity", work, times), func(t *testing.T) {
				refusal := min(40*time.Microsecond, work/8)
				m := newMachine(work, refusal)
				gap := time.Duration(float64(work) / times)
				m.run(2*time.Second, gap)
				const length = 20 * time.Second
				m.run(length, gap)
				if times < 1 {
					assert.Less(t, m.refused, (m.served+m.refused)/7, "of %d", m.served) // five in a queue are not rare
					return
				}
				// What can be served: s×work + (rate×length − s)×refusal = length.
				lost := float64(length) / float64(gap) * float64(refusal)
				ideal := (float64(length) - lost) / float64(work-refusal)
				assert.Greater(t, float64(m.good)/ideal, map[bool]float64{true: 0.9, false: 0.75}[work < 10*tick])
				m.run(time.Second, 0)
				m.run(5*time.Second, 2*work)
				assert.Less(t, m.refused, (m.served+m.refused)/10, "it is over")
			})
		}
	}
}

// Requests that come together and are done in a moment are no overload, and what had
// to be refused of some is not refused of those that come a second later.
func TestCPUGateForgetsABurst(t *testing.T) {
	for n, most := range map[int]float64{10: 0.1, 30: 0.4, 200: 0.9} { // the last would take 400 ms
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := newMachine(2*tick, 10*time.Microsecond)
			refused := 0
			const bursts = 20
			for range bursts {
				m.now += time.Second
				for range n {
					m.queue = append(m.queue, m.now)
				}
				m.run(time.Second, 0)
				refused += m.refused
			}
			assert.LessOrEqual(t, float64(refused)/float64(bursts*n), most)
		})
	}
}

// A service that knows one class is shed as gradually as one that knows all.
func TestGatesShedOneClassAlone(t *testing.T) {
	for _, class := range []Class{Critical, Default, Sheddable, Background} {
		t.Run(class.String(), func(t *testing.T) {
			var now int64
			g := gated(func(float64) float64 { return 2 }) // which changes nothing
			for _, shed := range []float64{0, 0.2, 0.5, 0.8} {
				passed := 0
				for range 5000 {
					now += sampleEvery
					g.control.integral, g.control.shed = shed, shed
					if g.passes(&request{class: class}, now) {
						passed++
					}
				}
				assert.InDelta(t, 5000*(1-shed), passed, 200, "%v", shed)
			}
			synctest.Test(t, func(t *testing.T) {
				l := heaped(t, func() (uint64, uint64) { return 90, 100 }) // of 80 to 100
				passed := 0
				for range 5000 {
					time.Sleep(tick)
					p, err := l.TryAcquire(t.Context(), Request{Class: class})
					if err == nil {
						passed++
					}
					p.Done(Ignore)
				}
				assert.InDelta(t, 5000*(1-mostShed/2), passed, 200, "memory")
			})
		})
	}
}

// A dashboard sees what is, also where nobody asks any more.
func TestSnapshotOfAnIdleLimiterIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := 50.0
		l, err := New(Config{CPULoad: func() float64 { return load }})
		require.NoError(t, err)
		for range 100 {
			time.Sleep(tick)
			p, _ := l.TryAcquire(t.Context(), Request{})
			p.Done(Ignore)
		}
		assert.InDelta(t, 50, l.Snapshot().CPULoad, 1)
		load = 0
		time.Sleep(time.Minute)
		assert.Zero(t, math.Round(l.Snapshot().CPULoad))
		p, err := l.TryAcquire(t.Context(), Request{})
		require.NoError(t, err)
		p.Done(Ignore)
	})
	synctest.Test(t, func(t *testing.T) {
		used := uint64(100)
		l := heaped(t, func() (uint64, uint64) { return used, 100 })
		assert.InDelta(t, 1, l.Snapshot().HeapLoad, 1e-9)
		used = 20
		time.Sleep(time.Second)
		assert.InDelta(t, 0.2, l.Snapshot().HeapLoad, 1e-9)
	})
}
