package config

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// compiled is what one revision of an endpoint comes to: a target, or the
// reason why there is none. Either is the answer until the revision changes.
type compiled struct {
	target     *delivery.Target
	limits     Limits
	err        error
	keys       *Keyring // that opened the secrets
	revision   uint64
	generation uint32
	used       atomic.Bool // since the last eviction
}

// target looks up what a survey's endpoint comes to, making it when it is not
// there. Nil means that nothing is stored for the survey.
func (s *Store) target(id events.Survey) *compiled {
	sh, _ := s.table.shardOf(string(id))
	if c := sh.cached(id); c != nil {
		return c
	}
	sh.compiling.Lock()
	defer sh.compiling.Unlock()
	if c := sh.cached(id); c != nil {
		return c
	}
	in, ok := s.table.get(id)
	if !ok {
		return nil
	}
	if in.kind == kindUnloaded {
		return &compiled{err: errUnloaded, revision: in.revision}
	}
	c := s.compile(id, in)
	s.table.keep(id, c, &s.keys)
	return c
}

func (s *shard) cached(id events.Survey) *compiled {
	s.mu.RLock()
	c := s.targets[id]
	s.mu.RUnlock()
	if c != nil && !c.used.Load() { // written only once: the line stays shared between cores
		c.used.Store(true)
	}
	return c
}

// keep caches a target, unless its endpoint or the key ring has changed since it
// was made.
func (t *table) keep(id events.Survey, c *compiled, keys *atomic.Pointer[Keyring]) {
	s, hash := t.shardOf(string(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.find(hash, string(id))
	if !ok || c.keys != keys.Load() || r.revision() != c.revision || r.generation() != c.generation || r.kind().counts() == 0 {
		return
	}
	if len(s.targets) >= t.perShard {
		s.makeRoom()
	}
	c.used.Store(true)
	s.targets[id] = c
}

// makeRoom evicts one target: the first it finds that is idle, of those it
// looks at, in the map's random order.
func (s *shard) makeRoom() {
	var victim events.Survey
	looked := 0
	for id, c := range s.targets {
		victim = id
		if looked++; !c.used.Load() || looked == 16 {
			break
		}
	}
	delete(s.targets, victim)
}

// evictIdle drops the targets that nobody asked for since the last time, and
// with them their secrets.
func (t *table) evictIdle() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for id, c := range s.targets {
			if !c.used.Swap(false) {
				delete(s.targets, id)
			}
		}
		s.mu.Unlock()
	}
}

// forgetTargets drops every target, and with them their secrets.
func (t *table) forgetTargets() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		clear(s.targets)
		s.mu.Unlock()
	}
}

// compile parses a stored value and opens its secrets.
func (s *Store) compile(id events.Survey, in stored) *compiled {
	c := &compiled{keys: s.keys.Load(), revision: in.revision, generation: in.generation}
	e, err := s.endpoint(id, in)
	if err != nil {
		c.err = err
		return c
	}
	c.limits = e.Limits()
	if !e.Enabled {
		c.err = fmt.Errorf("survey %s: %w: it is switched off", id, ErrNoEndpoint)
		return c
	}
	secrets, err := unsealAll(c.keys, e)
	if err != nil {
		c.err = err
		return c
	}
	spec := delivery.TargetSpec{Survey: id, URL: e.URL, Secrets: secrets, Headers: e.Headers, Revision: in.revision}
	if c.target, err = delivery.NewTarget(spec, s.o.Rules); err != nil {
		c.err = &InvalidError{Survey: id, Revision: in.revision, Reason: err}
	}
	return c
}

// endpoint reads a stored value as an endpoint.
func (s *Store) endpoint(id events.Survey, in stored) (Endpoint, error) {
	if in.kind == kindTooLarge {
		err := &InvalidError{Survey: id, Revision: in.revision, Reason: fmt.Errorf("more than %d bytes", MaxEndpointBytes)}
		return Endpoint{Survey: id, Revision: in.revision}, err
	}
	if in.kind == kindUnloaded {
		return Endpoint{Survey: id, Revision: in.revision}, fmt.Errorf("survey %s: %w: %w", id, ErrUnavailable, errUnloaded)
	}
	return readEndpoint(id, in.revision, in.value, s.o.Rules)
}

// unsealAll opens the secrets that still sign. One that has expired may be sealed
// with a key that is no longer in the ring.
func unsealAll(keys *Keyring, e Endpoint) ([]delivery.SecretSpec, error) {
	now := time.Now()
	var specs []delivery.SecretSpec
	for _, sealed := range e.Secrets {
		if sealed.Expired(now) {
			continue
		}
		if keys == nil {
			return nil, fmt.Errorf("survey %s: %w: key %s: this process has no key ring", e.Survey, ErrUnsealable, sealed.KeyID)
		}
		secret, err := keys.Open(e.Survey, sealed)
		if err != nil {
			return nil, fmt.Errorf("survey %s: %w", e.Survey, err)
		}
		spec := delivery.SecretSpec{Secret: secret}
		if sealed.ExpiresAt != nil {
			spec.ExpiresAt = *sealed.ExpiresAt
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// owesNothing says whether the answer would let an event be forgotten.
func (c *compiled) owesNothing() bool { return c == nil || errors.Is(c.err, ErrNoEndpoint) }
