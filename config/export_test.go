package config

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
