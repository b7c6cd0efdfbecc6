package delivery

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/delivery/panics"
)

const (
	// idleTime is how long a connection is kept unused. Many servers close theirs after 60 to 75 seconds, and one that is
	// closed from here costs no attempt.
	idleTime = 60 * time.Second

	// sweepEvery is how often those unused for longer are looked for.
	sweepEvery = 15 * time.Second

	// poolShards keeps attempts at different hosts from waiting for one lock.
	poolShards = 32
)

// pool keeps the HTTP/1.1 connections between attempts.
type pool struct {
	most, mostPerHost int
	seed              maphash.Seed
	shards            [poolShards]poolShard
	kept              atomic.Int64
	change            atomic.Uint64 // counts what made earlier connections unfit
	closed            atomic.Bool
	panics            *panics.Guard

	mu       sync.Mutex  // guards sweep
	sweep    *time.Timer // runs while sweeping
	sweeping atomic.Bool // set before a connection could be overlooked
}

type poolShard struct {
	mu   sync.Mutex              // guards idle
	idle map[route][]*connection // the longest unused first
}

func newPool(most, mostPerHost int, guard *panics.Guard) *pool {
	p := &pool{most: most, mostPerHost: mostPerHost, seed: maphash.MakeSeed(), panics: guard}
	for i := range p.shards {
		p.shards[i].idle = make(map[route][]*connection)
	}
	return p
}

func (p *pool) shard(r route) *poolShard {
	return &p.shards[maphash.String(p.seed, r.address)%poolShards]
}

// take gives the connection used last, for it is the least likely to have been closed by its receiver, or nil.
func (p *pool) take(r route) *connection {
	for {
		c := p.shard(r).pop(r)
		if c == nil {
			return nil
		}
		p.kept.Add(-1)
		if time.Since(c.since) < idleTime && c.quiet.holds() {
			return c
		}
		c.Close()
	}
}

func (s *poolShard) pop(r route) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.idle[r]
	if len(all) == 0 {
		return nil
	}
	c := all[len(all)-1]
	all[len(all)-1] = nil
	s.idle[r] = all[:len(all)-1]
	return c
}

// put keeps a connection that nothing more will come on, or closes it.
func (p *pool) put(c *connection) {
	if p.closed.Load() || c.change != p.change.Load() || p.kept.Load() >= int64(p.most) || !p.push(c) {
		c.Close()
		return
	}
	p.kept.Add(1)
	if !p.sweeping.Load() {
		p.startSweeping()
	}
	if p.closed.Load() || c.change != p.change.Load() {
		p.drop() // that came between
	}
}

func (p *pool) push(c *connection) bool {
	s := p.shard(c.route)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle[c.route]) >= p.mostPerHost {
		return false
	}
	c.since = time.Now()
	s.idle[c.route] = append(s.idle[c.route], c)
	return true
}

// startSweeping lets sweeps come as long as there is anything to sweep. One timer serves all connections.
func (p *pool) startSweeping() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() || p.sweeping.Swap(true) {
		return
	}
	if p.sweep == nil {
		p.sweep = time.AfterFunc(sweepEvery, p.sweepOnce)
		return
	}
	p.sweep.Reset(sweepEvery)
}

func (p *pool) sweepOnce() {
	p.panics.Do(panics.PlaceUpkeep, func() {
		p.remove(func(c *connection) bool { return time.Since(c.since) >= idleTime })
	})
	p.sweeping.Store(false) // whatever happened: the next sweep looks again
	if p.kept.Load() > 0 {
		p.startSweeping()
	}
}

// drop closes everything that is kept.
func (p *pool) drop() { p.remove(func(*connection) bool { return true }) }

// outdate closes everything that is kept, and what is in use when it comes back.
func (p *pool) outdate() {
	p.change.Add(1)
	p.drop()
}

// close does so for good.
func (p *pool) close() {
	p.closed.Store(true)
	p.drop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sweep != nil {
		p.sweep.Stop()
	}
}

func (p *pool) remove(unfit func(*connection) bool) {
	for i := range p.shards {
		removed := p.shards[i].remove(unfit)
		p.kept.Add(-int64(len(removed))) // at once: what is not kept must not count, whatever closing it does
		for _, c := range removed {
			p.panics.Do(panics.PlaceUpkeep, func() { c.Close() })
		}
	}
}

func (s *poolShard) remove(unfit func(*connection) bool) (removed []*connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, all := range s.idle {
		var fit, old []*connection // not in place: whatever happens, no connection may be there twice and serve two attempts
		for _, c := range all {
			if unfit(c) {
				old = append(old, c)
			} else {
				fit = append(fit, c)
			}
		}
		removed = append(removed, old...)
		if s.idle[r] = fit; len(fit) == 0 {
			delete(s.idle, r)
		}
	}
	return removed
}
