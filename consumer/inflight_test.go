package consumer

import (
	"testing"
	"time"
)

func TestInflightKnowsWhatRunsAndWhatWasSettled(t *testing.T) {
	in, now := newInflight(), time.Now()
	if _, found := in.enter(7, nil, now); found != entryFresh {
		t.Fatal("a new message is not fresh")
	}
	if _, found := in.enter(7, nil, now); found != entryRunning {
		t.Error("a redelivery of a running attempt is not recognised")
	}
	in.settle(7)
	if _, found := in.enter(7, nil, now); found != entrySettled {
		t.Error("a redelivery of a settled message is not recognised")
	}
	in.age()
	if _, found := in.enter(7, nil, now); found != entrySettled {
		t.Error("a settled message is forgotten after one generation")
	}
	in.age()
	if _, found := in.enter(7, nil, now); found != entryFresh {
		t.Error("a settled message is remembered for ever")
	}
	in.leave(7)
	if n := in.count(); n != 0 {
		t.Errorf("%d in hand, want none", n)
	}
}
