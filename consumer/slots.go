package consumer

import (
	"context"
	"sync/atomic"
)

// slots counts how many more messages may be taken in hand. Nothing is pulled
// without a slot, so nothing waits here with its AckWait running.
type slots struct {
	free  atomic.Int64
	total int64
	least int64         // a pull is worth its round trip from this many on
	wake  chan struct{} // capacity one: free rose to least
}

func newSlots(total int) *slots {
	s := &slots{total: int64(total), least: max(int64(total)/4, 1), wake: make(chan struct{}, 1)}
	s.free.Store(s.total)
	return s
}

// take waits until a pull is worth its while and returns every free slot, or 0
// when ctx ends.
func (s *slots) take(ctx context.Context) int {
	for {
		if free := s.free.Load(); free >= s.least && s.free.CompareAndSwap(free, 0) {
			return int(free)
		} else if free >= s.least {
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return 0
		}
	}
}

// give returns n slots.
func (s *slots) give(n int) {
	if n == 0 {
		return
	}
	free := s.free.Add(int64(n))
	if free >= s.least && free-int64(n) < s.least {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// used is how many messages are in hand or asked for.
func (s *slots) used() int { return int(s.total - s.free.Load()) }
