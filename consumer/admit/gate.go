package admit

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/events"
)

const (
	oldAfter   = time.Second            // an attempt older than this is slow
	hostOld    = 32                     // so many slow attempts make a host suspect
	hostShare  = 8                      // a host that does not answer may hold one of so many parts of the slots
	hostSilent = 200 * time.Millisecond // without any answer: one that has as many attempts under way and serves them answers all the time
	recent     = 10 * time.Second       // a 2xx this young vouches for an endpoint when slots are scarce
	failingFor = 10 * time.Second       // a replica takes its own word for a failing endpoint so long; then the health bucket has told, or one more attempt is made
	queueLeast = 256                    // events may wait for one endpoint's budget; each holds a slot
	queueGoal  = 200 * time.Millisecond // and of a quick endpoint as many as it answers in so long
	queueWait  = time.Second            // longer than that, and a lane is the better place to wait
	shardCount = 64                     // spreads the locks; a power of two
)

// IdleAfter is how long an endpoint without attempts is remembered, budget and
// all.
const IdleAfter = time.Minute

// Refusal says why an attempt may not begin now. It is a metric label.
type Refusal string

// The refusals; the empty one is none.
const (
	Failing Refusal = "failing"
	Slow    Refusal = "slow"
	Suspect Refusal = "suspect-host"
	Crowded Refusal = "crowded"
	Full    Refusal = "full"
	Limited Refusal = "limited"
)

// Refusals lists every refusal, for metrics.
func Refusals() []Refusal { return []Refusal{Failing, Slow, Suspect, Crowded, Full, Limited} }

// Limit is what an endpoint's owner allows, already divided into this replica's
// share. Zero means no limit.
type Limit struct {
	Probe     bool // may enter although the endpoint fails as a whole: its lane's owner tries it for all
	InFlight  int
	PerSecond float64
}

// Gate admits attempts. It is safe for concurrent use; no lock is shared by all
// endpoints.
type Gate struct {
	slots  int64
	seed   maphash.Seed
	old    atomic.Int64 // attempts older than oldAfter, at all endpoints
	flying atomic.Int64
	busy   chan struct{} // capacity one: an attempt began while there was none
	shards [shardCount]shard
	hosts  [shardCount]hostShard
}

type shard struct {
	mu        sync.Mutex // guards endpoints and everything in them
	endpoints map[events.Survey]*endpoint
}

type hostShard struct {
	mu    sync.Mutex // guards hosts; their counters are atomic
	hosts map[string]*host
}

// host is what many endpoints may share.
type host struct {
	users   int          // tickets holding it; guarded by its shard
	used    time.Time    // when one was asked for last; guarded by its shard
	flying  atomic.Int32 // attempts under way
	heard   atomic.Int64 // when one was answered last, or began while no other was under way; Unix ns
	old     atomic.Int32 // attempts older than oldAfter
	suspect atomic.Bool  // so many were old at once, and since then none was answered in time, and none late with a 2xx while fewer were old
	probing atomic.Bool  // a probe is under way while the host is suspect
}

// endpoint is one survey's, as long as it has something in flight or did lately.
type endpoint struct {
	budget   budget
	flying   tickets // in the order they began
	queue    []waiter
	pace     time.Duration // of its latest 2xx, about; 0: there was none
	lastGood time.Time
	lastBad  time.Time
	lastUsed time.Time
	bucket   bucket
}

// waiter is an event that waits for its turn at an endpoint.
type waiter struct {
	turn chan struct{} // capacity one
	most int           // its owner's limit of attempts in flight; 0: none
}

// NewGate returns a gate for a replica that holds at most slots events.
func NewGate(slots int) *Gate {
	g := &Gate{slots: int64(slots), seed: maphash.MakeSeed(), busy: make(chan struct{}, 1)}
	for i := range g.shards {
		g.shards[i].endpoints = map[events.Survey]*endpoint{}
		g.hosts[i].hosts = map[string]*host{}
	}
	return g
}

// Enter asks for an attempt at a survey's endpoint on a host. It waits a moment
// for the endpoint's budget where that may help, and returns a ticket to be
// given back with [Ticket.Leave], or why not.
func (g *Gate) Enter(ctx context.Context, survey events.Survey, hostName string, limit Limit) (*Ticket, Refusal) {
	h := g.hold(hostName)
	t, refusal := g.enter(ctx, survey, h, limit)
	if t == nil {
		g.letGo(hostName)
		return nil, refusal
	}
	t.hostName = hostName
	if g.flying.Add(1) == 1 {
		select {
		case g.busy <- struct{}{}:
		default:
		}
	}
	return t, ""
}

// Busy receives when an attempt begins while there was none: from then on
// [Gate.Sweep] is due, for as long as [Gate.Flying] is not 0.
func (g *Gate) Busy() <-chan struct{} { return g.busy }

// Flying is how many attempts are being made.
func (g *Gate) Flying() int { return int(g.flying.Load()) }

func (g *Gate) enter(ctx context.Context, survey events.Survey, h *host, limit Limit) (*Ticket, Refusal) {
	s := g.shard(survey)
	deadline := time.Time{}
	for woken := false; ; woken = true {
		now := time.Now()
		s.mu.Lock()
		e := s.endpoint(survey, now)
		refusal := g.judge(e, h, limit, now)
		suspect := h.suspect.Load()
		if refusal == "" && suspect && !h.probing.CompareAndSwap(false, true) {
			refusal = Suspect
		}
		if refusal == "" {
			t := g.admit(s, e, h, now, suspect)
			s.mu.Unlock()
			return t, ""
		}
		if len(e.queue) >= g.room(e, limit, refusal) || !deadline.IsZero() && !now.Before(deadline) {
			if woken {
				e.wake() // the turn was for nothing: it is passed on
			}
			s.mu.Unlock()
			return nil, refusal
		}
		turn := make(chan struct{}, 1)
		e.queue = append(e.queue, waiter{turn, limit.InFlight})
		patience := e.patience(refusal)
		s.mu.Unlock()
		if deadline.IsZero() {
			deadline = now.Add(patience)
		}
		if !await(ctx, turn, deadline.Sub(now)) {
			s.leaveQueue(e, turn)
			return nil, refusal
		}
	}
}

// judge applies the rules, the strictest first. The shard is locked.
func (g *Gate) judge(e *endpoint, h *host, limit Limit, now time.Time) Refusal {
	oldest := e.flying.oldest()
	switch {
	case !limit.Probe && e.failing(now):
		return Failing
	case oldest != nil && now.Sub(oldest.since) > oldAfter:
		return Slow
	case h.suspect.Load() && h.probing.Load(), g.silent(h, now):
		return Suspect
	case g.crowded(e, now):
		return Crowded
	case e.all(limit.InFlight):
		return Limited
	case limit.PerSecond > 0 && !e.bucket.has(limit.PerSecond, now):
		return Limited
	case e.flying.n >= e.budget.size:
		return Full
	default:
		return ""
	}
}

// silent says whether a host has so many attempts under way, and answers none, that no
// other may begin. Attempts become slow only after a second, and within one thousands of
// surveys on a host that hangs would have taken every slot, each for five. A suspect
// host has its probe.
func (g *Gate) silent(h *host, now time.Time) bool {
	return int64(h.flying.Load()) >= max(g.slots/hostShare, 2*hostOld) && !h.suspect.Load() && now.UnixNano()-h.heard.Load() >= int64(hostSilent)
}

// room is how many events may wait for an endpoint that refuses one. To park one and to
// try it from its lane takes as much CPU as to send three, so what an endpoint answers in
// a moment is not parked, were it all there is in hand: others would wait longer for that.
// Of an endpoint that is not known to be quick, half of the slots are left to others. For
// what its owner allows at once no more wait than are answered in that moment: beyond it
// is what exceeds the limit. Only these two pass in a moment.
func (g *Gate) room(e *endpoint, limit Limit, refusal Refusal) int {
	slots := int(g.slots)
	n := min(queueLeast, max(slots/2, 1))
	switch {
	case refusal == Full && e.pace > 0:
		return max(n, min(e.budget.size*int(queueGoal/e.pace), slots))
	case refusal == Full:
		return n
	case refusal == Limited && e.all(limit.InFlight) && e.pace > 0:
		return min(n, int(time.Duration(limit.InFlight)*queueGoal/e.pace))
	default:
		return 0
	}
}

// all says whether so many attempts are under way as an owner allows at once; 0 is no
// limit.
func (e *endpoint) all(most int) bool { return most > 0 && e.flying.n >= most }

// patience is how long the last of a queue waits for its turn. A long queue is one of
// an endpoint that was quick; should it hang now, the slots are needed. And what waits for
// its owner's limit may be passed by a lane, whose share is larger, again and again.
func (e *endpoint) patience(refusal Refusal) time.Duration {
	if len(e.queue) > queueLeast || refusal == Limited {
		return 2 * queueGoal
	}
	return queueWait
}

// crowded says whether slow attempts hold so many slots that an endpoint without a
// recent 2xx must stay out. One that has neither failed nor anything in flight may
// try once, as long as half of the slots are good: after a start nobody has a
// recent 2xx.
func (g *Gate) crowded(e *endpoint, now time.Time) bool {
	old := g.old.Load()
	if old*4 < g.slots || now.Sub(e.lastGood) <= recent {
		return false
	}
	return old*2 >= g.slots || e.flying.n > 0 || e.budget.fails > 0
}

// failing says whether the endpoint fails as a whole, as far as this replica saw
// it fail lately. After a while one more failure in a row is enough.
func (e *endpoint) failing(now time.Time) bool {
	if e.budget.fails >= failuresInARow && now.Sub(e.lastBad) > failingFor {
		e.budget.fails = failuresInARow - 1
	}
	return e.budget.fails >= failuresInARow
}

// Ask says why an attempt would be refused now, or nothing. It reserves nothing.
func (g *Gate) Ask(survey events.Survey, hostName string, limit Limit) Refusal {
	h := g.hold(hostName)
	defer g.letGo(hostName)
	s, now := g.shard(survey), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoint(survey, now)
	refusal := g.judge(e, h, limit, now)
	if refusal == Full || len(e.queue) < g.room(e, limit, refusal) {
		return "" // it would wait a moment, and mostly get its turn
	}
	return refusal
}

func (g *Gate) admit(s *shard, e *endpoint, h *host, now time.Time, probe bool) *Ticket {
	e.bucket.spend()
	if h.flying.Add(1) == 1 {
		h.heard.Store(now.UnixNano()) // its silence begins here
	}
	t := &Ticket{gate: g, shard: s, endpoint: e, host: h, since: now, probe: probe}
	e.flying.push(t)
	return t
}

// await waits for a turn; it says whether the turn came.
func await(ctx context.Context, turn <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-turn:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// Sweep marks attempts that have become slow and forgets endpoints that are
// idle. It is to be called about ten times a second while attempts are made.
func (g *Gate) Sweep(now time.Time) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for survey, e := range s.endpoints {
			g.markOld(e, now)
			if e.flying.n == 0 && len(e.queue) == 0 && now.Sub(e.lastUsed) > IdleAfter {
				delete(s.endpoints, survey)
			}
		}
		s.mu.Unlock()
		g.hosts[i].forget(now)
	}
}

// forget forgets suspect hosts that nobody has asked for in a while.
func (s *hostShard) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.hosts {
		if h.users == 0 && now.Sub(h.used) > IdleAfter {
			delete(s.hosts, name)
		}
	}
}

func (g *Gate) markOld(e *endpoint, now time.Time) {
	for t := e.flying.head; t != nil && !now.Before(t.since.Add(oldAfter)); t = t.next {
		if !t.old {
			t.old = true
			g.old.Add(1)
			if t.host.old.Add(1) >= hostOld {
				t.host.suspect.Store(true)
			}
		}
	}
}

// Old is how many attempts in flight are older than a second.
func (g *Gate) Old() int { return int(g.old.Load()) }

func (g *Gate) shard(survey events.Survey) *shard {
	return &g.shards[maphash.String(g.seed, string(survey))%shardCount]
}

func (s *shard) endpoint(survey events.Survey, now time.Time) *endpoint {
	e := s.endpoints[survey]
	if e == nil {
		e = &endpoint{budget: newBudget()}
		s.endpoints[survey] = e
	}
	e.lastUsed = now
	return e
}

func (s *shard) leaveQueue(e *endpoint, turn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range e.queue {
		if w.turn == turn {
			e.queue = slices.Delete(e.queue, i, i+1)
			return
		}
	}
	// The turn came in the same moment: pass it on.
	e.wake()
}

// wake gives the next event in the queue its turn: the first whose owner's limit leaves
// room for it. A lane's share of that limit is larger than that of what comes live.
func (e *endpoint) wake() {
	if e.flying.n >= e.budget.size {
		return
	}
	for i, w := range e.queue {
		if !e.all(w.most) {
			w.turn <- struct{}{}
			copy(e.queue[1:], e.queue[:i]) // mostly nothing
			e.queue = e.queue[1:]
			return
		}
	}
}

func (g *Gate) hostShard(name string) *hostShard {
	return &g.hosts[maphash.String(g.seed, name)%shardCount]
}

func (g *Gate) hold(name string) *host {
	s := g.hostShard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h == nil {
		h = &host{}
		s.hosts[name] = h
	}
	h.users++
	h.used = time.Now()
	return h
}

func (g *Gate) letGo(name string) {
	s := g.hostShard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h.users--; h.users == 0 && !h.suspect.Load() {
		delete(s.hosts, name)
	}
}
