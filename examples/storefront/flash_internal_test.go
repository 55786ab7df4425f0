package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/backpressure"
)

// rehearse is the flash crowd in virtual time, as the function of that name is the
// outages, and without a cache. Failsoft's is the front behind the door.
func (f *flash) rehearse(ctx context.Context, t *testing.T, enter door) rush {
	t.Helper()
	start, pool, hosts := time.Now(), make(wires), make(map[string][]string)
	for _, u := range upstreams() {
		for i := range u.replicas {
			host := u.name + strconv.Itoa(i)
			hosts[u.name] = append(hosts[u.name], host)
			pool[host] = &replica{upstream: u, number: i, script: f.script, start: start, record: f.pages}
		}
	}
	client := &http.Client{Timeout: deadline, Transport: &turns{hosts: hosts, next: pool}}
	fronts := map[string]http.Handler{
		naive:    f.behind(noDoor, naive, client),
		failsoft: f.behind(enter, failsoft, client),
	}
	var inside sync.WaitGroup
	for number, v := range f.visitors {
		time.Sleep(time.Until(start.Add(v.at)))
		for name, shop := range fronts {
			for path, record := range f.act().asks {
				inside.Go(func() { f.visit(ctx, shop, name, path, number, record) })
			}
		}
	}
	inside.Wait()
	return f.rush()
}

// visit takes one visitor to one front, for one thing, as a crowd does.
func (f *flash) visit(ctx context.Context, shop http.Handler, name, path string, number int, record *record) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patienceInCrowd)
	defer cancel()
	url := path + strconv.Itoa(f.visitors[number].product)
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	req.Header.Set(headerVisitor, strconv.Itoa(number))
	answer := httptest.NewRecorder()
	shop.ServeHTTP(answer, req)
	inTime := ctx.Err() == nil
	if inTime && answer.Code == http.StatusServiceUnavailable {
		record.refused(name, number)
	}
	record.answered(name, number, inTime && answer.Code == http.StatusOK, time.Since(begun))
}

// limited is a door with a limiter that a Config is changed for.
func limited(change func(*backpressure.Config)) door {
	cfg := limiterConfig()
	change(&cfg)
	return backpressure.MustNew(cfg).Handler
}

// bluntly is the limiter at the door, by hand: the front is not told of its level.
func bluntly(limiter *backpressure.Limiter) door {
	return func(front http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := limiter.Acquire(r.Context(), backpressure.Request{Class: classOf(r)})
			if err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			defer p.Done(backpressure.Success)
			front.ServeHTTP(w, r)
		})
	}
}

// TestWhatTheDoorIsMissedFor is the verdict on the flash crowd without the limiter, or
// without something that it does.
func TestWhatTheDoorIsMissedFor(t *testing.T) {
	for name, c := range map[string]struct {
		enter  func() door
		missed []string
	}{
		"nothing": {enter: func() door { return newLimiter().Handler }},
		"the limiter": {
			enter: func() door { return noDoor },
			missed: []string{
				`row "flash crowd": its pages are 0 % of what it can build in full`,
				`row "after the crowd": it answered 0.00 % of its visitors`,
			},
		},
		"the classes": {
			enter:  func() door { return limited(func(cfg *backpressure.Config) { cfg.Class = nil }) },
			missed: []string{`of the ads, which matter less`},
		},
		"the level": {
			enter:  func() door { return bluntly(newLimiter()) },
			missed: []string{`of what it can build in full`, `pages before it left out a part of one`},
		},
	} {
		for seed := range uint64(3) {
			t.Run(name+", seed "+strconv.FormatUint(seed+1, 10), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					crowd := newFlash(seed+1).rehearse(t.Context(), t, c.enter())
					err := crowd.judge()
					if c.missed == nil {
						require.NoError(t, err, crowd.String())
					}
					for _, missed := range c.missed {
						require.ErrorIs(t, err, errBehind)
						require.ErrorContains(t, err, missed, crowd.String())
					}
				})
			})
		}
	}
}

// cope is what failsoft is to make of a crowd, and naive is not.
func cope() rush {
	at := func(n int, from time.Duration) (all []time.Duration) {
		for i := range n {
			all = append(all, from+time.Duration(i)*ms)
		}
		return all
	}
	side := func(visitors, served int) turnout { return turnout{tally: tally{visitors: visitors, served: served}} }
	rest := wave{
		phase: "before the crowd", worth: 100,
		pages: split{naive: side(50, 50), failsoft: side(50, 45)},
		ads:   split{naive: side(50, 50), failsoft: side(50, 0)},
	}
	peak := wave{
		phase: "flash crowd", worth: 100, overload: true, peak: true,
		pages: split{naive: side(400, 40), failsoft: side(400, 200)},
		ads:   split{naive: side(400, 400), failsoft: side(400, 0)},
	}
	peak.pages.failsoft.simpler = at(200, 10*ms)
	peak.pages.failsoft.refused = at(200, 0) // ten of them before
	peak.ads.failsoft.refused = at(400, 0)
	after := rest
	after.phase = "after the crowd"
	return rush{rest, peak, after}
}

func TestVerdictOnTheCrowd(t *testing.T) {
	require.NoError(t, cope().judge())
	require.NoError(t, rush(nil).judge(), "it did not come to that")
	for name, c := range map[string]struct {
		spoil func(x rush)
		wrong string
	}{
		"too few pages": {
			func(x rush) { x[1].pages.failsoft.served-- },
			`row "flash crowd": its pages are 199 % of what it can build in full; simpler ones make 200 %`,
		},
		"nothing left out": {
			func(x rush) { x[1].pages.failsoft.simpler = nil },
			`in the crowd: it refused 200 of 200 pages before it left out a part of one`,
		},
		"a page refused early": {
			func(x rush) { x[1].pages.failsoft.simpler = x[1].pages.failsoft.simpler[1:] },
			`in the crowd: it refused 11 of 200 pages before it left out a part of one`,
		},
		"an ad kept": {
			func(x rush) { x[1].ads.failsoft.refused = x[1].ads.failsoft.refused[1:] },
			`in the crowd: it refused 50 % of the pages, and 100 % of the ads, which matter less`,
		},
		"naive stands": {
			func(x rush) { x[1].pages.naive.served++ },
			`row "flash crowd", for want of a crowd: naive answered 10.25 % of its visitors, more than 10 %`,
		},
		"not well before": {
			func(x rush) { x[0].pages.failsoft.served-- },
			`row "before the crowd": it answered 88.00 % of its visitors, and has the capacity for all of them`,
		},
		"no recovery": {
			func(x rush) { x[2].pages.failsoft.served-- },
			`row "after the crowd": it answered 88.00 % of its visitors`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			crowd := cope()
			c.spoil(crowd)
			err := crowd.judge()
			require.ErrorIs(t, err, errBehind)
			assert.ErrorContains(t, err, c.wrong)
			assert.NotContains(t, err.Error(), "\n", "nothing else is wrong")
		})
	}
}

func TestReportOfTheCrowd(t *testing.T) {
	lines := strings.Split(cope().String(), "\n")
	require.Len(t, lines, 13)
	assert.Regexp(t, `^crowd +front +pages +of full +p99 +simpler +refused +ads +refused$`, lines[1])
	assert.Regexp(t, `^flash crowd +naive +10\.00 % +40 % +0 ms +0 % +0 % +100 % +0 %$`, lines[4])
	assert.Regexp(t, `^ +failsoft +50\.00 % +200 % +0 ms +50 % +50 % +0 % +100 %$`, lines[5])
	assert.Contains(t, lines[10], "which are 100 in a phase")
	for _, line := range lines {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, "it fits a terminal")
	}
	assert.Empty(t, rush(nil).String())
	assert.Empty(t, newFlash(1).rush(), "nobody has come yet")
}

func TestCrowdIsFourTimesTheCapacity(t *testing.T) {
	assert.InDelta(t, 50, capacity(time.Second), 1e-9, "four desks, and 80 ms for a page and its ads")
	f := newFlash(1)
	came := make([]float64, len(f.script.phases))
	last := time.Duration(0)
	for _, v := range f.visitors {
		assert.GreaterOrEqual(t, v.at, last, "in the order of their arrival")
		assert.Equal(t, v.phase, f.script.at(v.at))
		last = v.at
		came[v.phase]++
	}
	worth := capacity(f.script.length)
	assert.InDeltaSlice(t, []float64{0.5 * worth, 2.25 * worth, 4 * worth, 0.5 * worth}, came, 0.2*worth)
	assert.LessOrEqual(t, f.script.total()+patienceInCrowd, 8500*ms, "nobody waits much longer for the drill")
	for _, p := range f.script.phases {
		assert.Less(t, len(p.short), barPerPhase, "labels do not touch")
	}
}

func TestStaffWorksAtItsOwnPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newStaff(2)
		start := time.Now()
		var done [4]time.Duration
		var inside sync.WaitGroup
		for i := range done {
			time.Sleep(ms)
			inside.Go(func() {
				all.build(t.Context(), 10*ms)
				done[i] = time.Since(start)
			})
		}
		inside.Wait()
		assert.Equal(t, [4]time.Duration{11 * ms, 12 * ms, 21 * ms, 22 * ms}, done)

		gone, leave := context.WithCancel(t.Context())
		leave()
		all.build(gone, 20*ms)
		assert.Equal(t, 22*ms, time.Since(start), "who has left does not wait")
		all.build(t.Context(), 10*ms)
		all.build(t.Context(), 10*ms)
		assert.Equal(t, 42*ms, time.Since(start), "and is worked for all the same")

		var plenty *staff
		plenty.build(t.Context(), time.Hour)
		assert.Equal(t, 42*ms, time.Since(start), "there is nothing to wait for")
	})
}
