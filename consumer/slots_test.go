package consumer

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestSlotsAreTakenAllAtOnceAndOnlyWhenWorthAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(100)
		if n := s.take(t.Context()); n != 100 {
			t.Fatalf("took %d of 100", n)
		}
		got := make(chan int)
		go func() { got <- s.take(t.Context()) }()
		for range 24 {
			s.give(1)
		}
		synctest.Wait()
		select {
		case n := <-got:
			t.Fatalf("took %d slots where fewer than a quarter were free", n)
		default:
		}
		s.give(1)
		if n := <-got; n != 25 {
			t.Errorf("took %d, want 25", n)
		}
		if s.used() != 100 {
			t.Errorf("%d used, want 100", s.used())
		}
	})
}

func TestTakingSlotsEndsWithItsContext(t *testing.T) {
	s := newSlots(1)
	s.take(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n := s.take(ctx); n != 0 {
		t.Errorf("took %d slots that are not there", n)
	}
}
