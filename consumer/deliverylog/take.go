package deliverylog

// takeFull empties the shards of their full chunks.
func (l *Log) takeFull() []*chunk {
	var all []*chunk
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		full := s.full
		s.full = nil
		s.mu.Unlock()
		all = append(all, l.release(full)...)
	}
	return all
}

// takeAll empties the shards.
func (l *Log) takeAll() []*chunk {
	var all []*chunk
	for i := range l.shards {
		all = append(all, l.takeShard(i)...)
	}
	return all
}

// takeShard empties one shard. What was settled and what was lost is encoded
// outside of the lock.
func (l *Log) takeShard(i int) []*chunk {
	s := &l.shards[i]
	s.mu.Lock()
	chunks, current, settled, loss := s.full, s.current, s.settled, s.loss
	l.buffered.Add(-s.cost)
	s.full, s.current, s.settled, s.cost, s.loss = nil, nil, nil, 0, Loss{}
	s.mu.Unlock()

	if current != nil {
		chunks = append(chunks, current)
	}
	return l.encode(i, l.release(chunks), settled, loss)
}

// release takes chunks out of the account.
func (l *Log) release(chunks []*chunk) []*chunk {
	for _, c := range chunks {
		l.buffered.Add(-int64(len(c.body)))
	}
	return chunks
}

// encode adds to the last chunk what is not yet in lines, and opens another
// whenever that is full.
func (l *Log) encode(shard int, chunks []*chunk, settled map[settledKey]*settled, loss Loss) []*chunk {
	last := func() *chunk {
		if n := len(chunks); n == 0 || len(chunks[n-1].body) >= chunkBytes {
			chunks = append(chunks, l.chunk(shard))
		}
		return chunks[len(chunks)-1]
	}
	if loss.Records > 0 {
		last().addDropped(loss)
	}
	for key, of := range settled {
		for runs := range of.lines() {
			last().addSettled(key, of.since, runs)
		}
	}
	return chunks
}

// putBack returns a chunk that was not sent.
func (l *Log) putBack(c *chunk) {
	s := &l.shards[c.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = append(s.full, c)
	l.buffered.Add(int64(len(c.body)))
}
