package config

import "github.com/popsee/webhooks/events"

// Stale makes the store doubt its watch, as it does when the watch has ended.
func (s *Store) Stale() { s.stale() }

// Targets is how many targets are kept.
func (s *Store) Targets() int {
	n := 0
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		sh.mu.RLock()
		n += len(sh.targets)
		sh.mu.RUnlock()
	}
	return n
}

// Hold keeps whatever would change the memory of a survey waiting until release is
// called. ok is false where another survey would wait with it.
func (s *Store) Hold(survey, other events.Survey) (release func(), ok bool) {
	held, _ := s.table.shardOf(string(survey))
	if beside, _ := s.table.shardOf(string(other)); beside == held {
		return nil, false
	}
	held.mu.Lock()
	return held.mu.Unlock, true
}
