package main

import (
	"net/http"
	"slices"
	"time"
)

// What visitors ask for.
const (
	pathPages = "/products/"
	pathAds   = "/ads/"
)

// flash is the second act of the drill: the upstreams are well, and a crowd comes. What
// is short is the fronts themselves, of which there are not more because more visitors
// come. Each visitor asks for a page and, at the same time, for the ads beside it.
type flash struct {
	script     script
	visitors   []visitor
	pages, ads *record
}

const (
	// patienceInCrowd is less than in an outage, as no call has to run into its deadline.
	patienceInCrowd = time.Second
	// desks is how many pages a front can build at a time.
	desks = 4
	// wavelength is how long each phase takes.
	wavelength = 1800 * ms
)

// flashPhases is the script of a crowd.
func flashPhases() []phase {
	return []phase{
		{name: "before the crowd", short: "before", slower: 1, from: 0.5, load: 0.5},
		{name: "a crowd gathers", short: "gather", slower: 1, from: 0.5, load: 4},
		{name: "flash crowd", short: "crowd", slower: 1, from: 4, load: 4},
		{name: "after the crowd", short: "after", slower: 1, from: 0.5, load: 0.5},
	}
}

// capacity is how many visitors a front can serve in some time, with everything.
func capacity(d time.Duration) float64 {
	var work time.Duration
	for _, u := range upstreams() {
		work += u.work
	}
	return desks * float64(d) / float64(work)
}

func newFlash(seed uint64) *flash {
	s := script{phases: flashPhases(), length: wavelength, seed: seed}
	visitors := newRush(s)
	return &flash{script: s, visitors: visitors, pages: newRecord(s, visitors), ads: newRecord(s, visitors)}
}

// act is the flash crowd to be played.
func (f *flash) act() act {
	return act{
		script: f.script, visitors: f.visitors, patience: patienceInCrowd,
		record: f.pages, asks: map[string]*record{pathPages: f.pages, pathAds: f.ads}, open: f.open,
	}
}

// newRush returns the visitors, in the order of their arrival. They come at random,
// independently of each other.
func newRush(s script) []visitor {
	luck := s.luck("rush")
	var all []visitor
	for i, p := range s.phases {
		begin, _ := s.span(i)
		for range int(p.load * capacity(s.length)) {
			after, product := luck.Float64(), luck.IntN(products)
			if luck.Float64()*p.load > p.from+after*(p.load-p.from) {
				continue // not as many come yet
			}
			at := begin + time.Duration(after*float64(s.length))
			all = append(all, visitor{at: at, phase: i, product: product})
		}
	}
	slices.SortFunc(all, func(a, b visitor) int { return int(a.at - b.at) })
	return all
}

// door is what stands before a front.
type door func(front http.Handler) http.Handler

func noDoor(front http.Handler) http.Handler { return front }

// open returns a front of which there is only so much: with a limiter at its door if it
// is failsoft's.
func (f *flash) open(name string, client *http.Client) *http.ServeMux {
	if name == failsoft {
		return f.behind(newLimiter().Handler, name, client)
	}
	return f.behind(noDoor, name, client)
}

func (f *flash) behind(enter door, name string, client *http.Client) *http.ServeMux {
	all := newStaff(desks)
	var page, beside []upstream
	for _, u := range upstreams() {
		if u.name == "ads" {
			u.needed = true // there is nothing else in the answer
			beside = append(beside, u)
		} else {
			page = append(page, u)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+pathPages+"{product}",
		enter(&front{name: name, sources: page, client: client, record: f.pages, staff: all}))
	mux.Handle("GET "+pathAds+"{product}",
		enter(&front{name: name, sources: beside, client: client, record: f.ads, staff: all}))
	return mux
}
