package main

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// arrivals is what a receiver has counted.
type arrivals struct {
	s       scenario
	began   time.Time
	times   []atomic.Uint32     // by event: how often it came
	latency []atomic.Int64      // by event, from publication to first arrival; healthy ones
	at      []atomic.Int64      // by event, when it came first, in ns since began; healthy ones
	again   []atomic.Bool       // by event: it came in a replay; healthy ones
	seconds [3600]atomic.Uint32 // requests in each second since began
	refused [3600]atomic.Uint32 // of them, those that failed

	healthy, failing, http2 atomic.Int64 // see count

	mu     sync.Mutex // guards failed and mended
	failed map[int][]time.Time
	mended map[int]mended
}

// mended is what a survey got since its endpoint was mended.
type mended struct {
	First time.Time
	Last  time.Time
	Times int
}

func newArrivals(s scenario) *arrivals {
	n := s.total()
	return &arrivals{
		s: s, began: time.Now(), times: make([]atomic.Uint32, n), latency: make([]atomic.Int64, n), at: make([]atomic.Int64, n), again: make([]atomic.Bool, n),
		failed: map[int][]time.Time{}, mended: map[int]mended{},
	}
}

// add counts one request; replayed says whether a replay sent it.
func (a *arrivals) add(now time.Time, survey int, k kind, body []byte, replayed bool) error {
	if i := int(now.Sub(a.began).Seconds()); i < len(a.seconds) {
		a.seconds[i].Add(1)
		if k != healthy {
			a.refused[i].Add(1)
		}
	}
	if k != healthy {
		a.failing.Add(1)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.failed[survey] = append(a.failed[survey], now)
		return nil
	}
	if a.s.kind(survey) != healthy {
		a.addMended(now, survey)
		return nil
	}
	i, published, err := readEvent(body)
	if err != nil || i >= len(a.times) {
		return errNoEvent
	}
	if replayed {
		a.again[i].Store(true)
	}
	if a.times[i].Add(1) == 1 {
		a.latency[i].Store(now.UnixNano() - published)
		a.at[i].Store(int64(now.Sub(a.began)))
		if i >= a.s.first() {
			a.healthy.Add(1)
		}
	}
	return nil
}

func (a *arrivals) addMended(now time.Time, survey int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mended[survey]
	if m.Times == 0 {
		m.First = now
	}
	m.Times, m.Last = m.Times+1, now
	a.mended[survey] = m
}

// count is what can be told in passing, without disturbing what is measured.
type count struct {
	Healthy int64 // distinct healthy events that count
	Failing int64 // requests to endpoints that fail
	HTTP2   int64 // requests over HTTP/2
}

func (a *arrivals) count() count { return count{a.healthy.Load(), a.failing.Load(), a.http2.Load()} }

// tally is the sum of what has arrived so far. Durations are in milliseconds.
type tally struct {
	Healthy    int // distinct healthy events that count
	Duplicates int // requests for healthy events that had come before
	Replayed   int // distinct healthy events that came in a replay
	P50        float64
	P90        float64
	P99        float64
	Max        float64
	First      float64 // when the first, 99 % and all of the healthy ones had come, since the receiver began
	Most       float64
	Last       float64
	Stretches  []float64 // healthy events a second in each stretch of a backlog, see pace

	FailingRequests int   // to all endpoints that fail
	FailingMost     int   // to one of them within 30 s of its first failure, what came before included
	FailingTimes    []int // likewise, by endpoint, ascending

	Seconds []uint32       // requests in each second since the receiver began
	Refused []uint32       // of them, those that failed
	Began   time.Time      // the first of them
	Mended  map[int]mended // by survey
}

func (a *arrivals) sum(now time.Time) tally {
	t := tally{Began: a.began, Stretches: a.pace()}
	a.sumHealthy(&t)
	a.mu.Lock()
	defer a.mu.Unlock()
	for s, times := range a.failed {
		t.FailingRequests += len(times)
		t.FailingTimes = append(t.FailingTimes, a.early(s, times))
	}
	slices.Sort(t.FailingTimes)
	if n := len(t.FailingTimes); n > 0 {
		t.FailingMost = t.FailingTimes[n-1]
	}
	for i := range min(int(now.Sub(a.began).Seconds())+1, len(a.seconds)) {
		t.Seconds, t.Refused = append(t.Seconds, a.seconds[i].Load()), append(t.Refused, a.refused[i].Load())
	}
	t.Mended = maps.Clone(a.mended)
	return t
}

func (a *arrivals) sumHealthy(t *tally) {
	var latency, at []int64
	for i := range a.times {
		n := int(a.times[i].Load())
		t.Duplicates += max(n-1, 0)
		if a.again[i].Load() {
			t.Replayed++
		}
		if n > 0 && i >= a.s.first() {
			latency, at = append(latency, a.latency[i].Load()), append(at, a.at[i].Load())
		}
	}
	slices.Sort(latency)
	slices.Sort(at)
	t.Healthy = len(latency)
	t.P50, t.P90, t.P99, t.Max = milliseconds(latency, .5), milliseconds(latency, .9), milliseconds(latency, .99), milliseconds(latency, 1)
	t.First, t.Most, t.Last = milliseconds(at, 0), milliseconds(at, .99), milliseconds(at, 1)
}

// pace is how many healthy events of each stretch came a second. Its first three tenths are
// left out, in which what the one before has parked is still read and let go, and its last
// one, in which those of the next come too.
func (a *arrivals) pace() (rates []float64) {
	for from := 0; a.s.Stretch > 0 && from+a.s.Stretch <= len(a.at); from += a.s.Stretch {
		var at []int64
		for i := from; i < from+a.s.Stretch; i++ {
			if a.times[i].Load() > 0 {
				at = append(at, a.at[i].Load())
			}
		}
		slices.Sort(at)
		rate, n := 0.0, len(at)
		if took := milliseconds(at, .9) - milliseconds(at, .3); took > 0 {
			rate = float64(n*9/10-n*3/10) / took * 1000
		}
		rates = append(rates, rate)
	}
	return rates
}

// milliseconds is a quantile of sorted nanoseconds.
func milliseconds(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / 1e6
}

// timeOut is what an attempt may take.
const timeOut = 5 * time.Second

// early counts the requests to a failing endpoint until 30 s after its first
// failure, which comes with the first request or its time-out.
func (a *arrivals) early(survey int, times []time.Time) int {
	end := times[0].Add(30 * time.Second)
	if a.s.kind(survey) == hanging {
		end = end.Add(timeOut)
	}
	n := 0
	for _, t := range times {
		if t.Before(end) {
			n++
		}
	}
	return n
}
