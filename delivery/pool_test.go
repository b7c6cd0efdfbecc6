package delivery

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/delivery/panics/panicstest"
)

// idle gives a connection to a host as an exchange leaves it, and its other end.
func idle(host string) (*connection, net.Conn) {
	ours, theirs := net.Pipe()
	return newConnection(newLimited(ours), route{address: host}), theirs
}

// open says whether a connection's other end is.
func open(t *testing.T, other net.Conn) bool {
	t.Helper()
	synctest.Wait()
	_ = other.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := other.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func wantOpen(t *testing.T, want bool, others ...net.Conn) {
	t.Helper()
	for i, other := range others {
		if got := open(t, other); got != want {
			t.Errorf("connection %d is open: %t, want %t", i, got, want)
		}
	}
}

func TestThePoolGivesTheLastUsedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(10, 10, nil)
		defer p.close()
		first, _ := idle("a:443")
		second, _ := idle("a:443")
		p.put(first)
		p.put(second)
		a := route{address: "a:443"}
		if c := p.take(route{address: "b:443"}); c != nil {
			t.Error("a connection to another host was given")
		}
		if c := p.take(route{secure: true, address: "a:443"}); c != nil {
			t.Error("a plain connection was given for a secure one")
		}
		if c := p.take(a); c != second {
			t.Error("want the one used last")
		}
		if c := p.take(a); c != first {
			t.Error("want the other one next")
		}
		if c := p.take(a); c != nil {
			t.Error("want no third")
		}
	})
}

func TestThePoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(3, 2, nil)
		defer p.close()
		var others []net.Conn
		for _, host := range []string{"a:1", "a:1", "a:1", "b:1", "c:1"} {
			c, other := idle(host)
			p.put(c)
			others = append(others, other)
		}
		wantOpen(t, true, others[0], others[1], others[3])
		wantOpen(t, false, others[2], others[4])
	})
	if p := mustClient(t, Options{}).pool; p.most != mostKept || p.mostPerHost != mostKeptPerHost {
		t.Errorf("a client keeps %d, and %d to one host", p.most, p.mostPerHost)
	}
}

func TestThePoolClosesWhatNobodyUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(10, 10, nil)
		defer p.close()
		old, oldOther := idle("a:1")
		p.put(old)
		time.Sleep(idleTime - sweepEvery + time.Second)
		young, youngOther := idle("b:1")
		p.put(young)
		wantOpen(t, true, oldOther, youngOther)
		time.Sleep(sweepEvery)
		wantOpen(t, false, oldOther)
		wantOpen(t, true, youngOther)
		time.Sleep(idleTime)
		wantOpen(t, false, youngOther)
		if n := p.kept.Load(); n != 0 {
			t.Errorf("%d are counted as kept", n)
		}
	})
}

// panicking is a connection that cannot be closed without a panic.
type panicking struct{ net.Conn }

func (panicking) Close() error { panic("in hand was " + testSecret) }

// Kept connections are closed by a timer's goroutine: a panic there would end the process.
func TestThePoolSurvivesAPanicWhileItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := prometheus.NewRegistry()
		p := newPool(10, 10, panics.New(zerolog.New(io.Discard), counted))
		defer p.close()
		before, beforeOther := idle("a:1")
		p.put(before)
		ours, theirs := net.Pipe()
		defer ours.Close()
		p.put(newConnection(newLimited(panicking{ours}), route{address: "a:1"}))
		after, afterOther := idle("a:1")
		p.put(after)
		wantOpen(t, true, beforeOther, theirs, afterOther)
		time.Sleep(idleTime + sweepEvery)
		wantOpen(t, false, beforeOther, afterOther)
		if n := p.kept.Load(); n != 0 {
			t.Errorf("%d are counted as kept", n)
		}
		next, nextOther := idle("a:1")
		p.put(next)
		wantOpen(t, true, nextOther)
		time.Sleep(idleTime + sweepEvery)
		wantOpen(t, false, nextOther) // sweeps go on
		if n := panicstest.Survived(t, counted, panics.PlaceUpkeep); n != 1 {
			t.Errorf("%v panics are counted, want 1", n)
		}
	})
}

// Too old a connection is not given even if no sweep has come by yet.
func TestThePoolGivesNothingTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(10, 10, nil)
		defer p.close()
		c, other := idle("a:1")
		p.put(c)
		p.mu.Lock()
		p.sweep.Stop()
		p.mu.Unlock()
		time.Sleep(idleTime)
		if c := p.take(route{address: "a:1"}); c != nil {
			t.Error("it was given")
		}
		wantOpen(t, false, other)
	})
}

func TestThePoolKeepsNothingFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(10, 10, nil)
		kept, keptOther := idle("a:1")
		p.put(kept)
		used, usedOther := idle("a:1")
		p.outdate()
		p.put(used)
		wantOpen(t, false, keptOther, usedOther)

		fresh, freshOther := idle("a:1")
		fresh.change = p.change.Load()
		p.put(fresh)
		wantOpen(t, true, freshOther)
		p.close()
		after, afterOther := idle("a:1")
		after.change = p.change.Load()
		p.put(after)
		wantOpen(t, false, freshOther, afterOther)
	})
}
