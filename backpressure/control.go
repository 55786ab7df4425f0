package backpressure

import "time"

// control says which part of the requests to refuse, so that the others do not wait for
// a processor for longer than they may.
//
// It is a PI controller (Åström and Hägglund, PID Controllers, 1995): the integral part
// finds out what has to be refused in the long run, with no idea of what the machine can
// do, and takes its time; the proportional part answers what happens in the meantime, so
// that the queue does not swing about the target as an integral alone lets it.
//
// There is too much of a wait if there are more requests than the threshold and they wait
// for longer than the target. A number alone would refuse most of the requests that take
// microseconds: a hundred of them are gone at once. A time alone would be at the mercy of
// how well it is estimated where requests are few.
//
// It is pure: nothing in it knows of clocks, runtimes and requests.
type control struct {
	threshold float64 // requests that may wait, per processor
	integral  float64 // the part that had to be refused lately, [0,mostShed]
	shed      float64 // the part that is, [0,mostShed]
}

const (
	// targetWait is how long requests may wait for a processor, in the mean: what WeChat
	// takes for the sign of an overload (Zhou et al., DAGOR, SoCC 2018).
	targetWait = 20 * time.Millisecond
	// shedTime is how long the integral takes to refuse all if there is twice as much as
	// there may be; gain is what is refused at once.
	shedTime = 200 * time.Millisecond
	gain     = 0.5
	// mostExcess bounds what a reading may say, so that a terrible one does not undo what
	// was learned from a hundred others, and mostRise what may follow from a single one:
	// where requests are few a reading is old news when the next comes.
	mostExcess = 4
	mostRise   = 0.1
	mostShed   = 0.95 // the rest finds out whether it is over
)

// pressure is the load as a part of what it may be: above 1, some is shed.
func (c *control) pressure(load float64, wait time.Duration) float64 {
	return min(load/c.threshold, float64(wait)/float64(targetWait))
}

// step takes a reading into account, of so many requests that wait for a processor, per
// processor, for so long, and so much time after the one before. It returns the part of
// the requests to shed.
func (c *control) step(load float64, wait, since time.Duration) (shed float64) {
	excess := min(c.pressure(load, wait)-1, mostExcess)
	change := excess * min(float64(since)/float64(shedTime), 1)
	c.integral = within(c.integral + min(change, mostRise))
	c.shed = min(within(c.integral+gain*excess), c.shed+mostRise)
	return c.shed
}

// forget starts again, with all let in.
func (c *control) forget() { c.integral, c.shed = 0, 0 }

func within(shed float64) float64 { return min(max(shed, 0), mostShed) }
