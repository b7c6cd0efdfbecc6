package admit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/events"
)

// enter asks without waiting: its context has ended.
func enter(g *Gate, survey, host string, l Limit) (*Ticket, Refusal) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return g.Enter(ctx, events.Survey(survey), host, l)
}

// fill takes n tickets, which must all be there.
func fill(t *testing.T, g *Gate, survey, host string, n int) []*Ticket {
	t.Helper()
	var tickets []*Ticket
	for i := range n {
		ticket, refusal := enter(g, survey, host, Limit{})
		if ticket == nil {
			t.Fatalf("ticket %d of %d was refused: %s", i+1, n, refusal)
		}
		tickets = append(tickets, ticket)
	}
	return tickets
}

func wantRefused(t *testing.T, g *Gate, survey, host string, l Limit, want Refusal) {
	t.Helper()
	if ticket, got := enter(g, survey, host, l); ticket != nil || got != want {
		t.Errorf("%s: got %q, want %q", survey, got, want)
	}
}

func TestAnEndpointStartsWithEightAndGainsOneAFullWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		first := fill(t, g, "s", "h", 8)
		wantRefused(t, g, "s", "h", Limit{}, Full)
		for _, ticket := range first {
			ticket.Leave(Won)
		}
		fill(t, g, "s", "h", 9)
		wantRefused(t, g, "s", "h", Limit{}, Full)
	})
}

func TestTheBudgetStopsAtSixtyFourAndIsHalvedByAFailure(t *testing.T) {
	b := newBudget()
	for range 10_000 {
		b.won()
	}
	if b.size != 64 {
		t.Errorf("after many wins the budget is %d, want 64", b.size)
	}
	for _, want := range []int{32, 16, 8, 4, 2, 1, 1} {
		if b.lost(1); b.size != want {
			t.Errorf("after a failure the budget is %d, want %d", b.size, want)
		}
	}
}

func TestFiveFailuresInARowOrOneTimeOutFailTheEndpointOnce(t *testing.T) {
	b := newBudget()
	for i := 1; i <= 6; i++ {
		if failing := b.lost(1); failing != (i == 5) {
			t.Errorf("failure %d says failing %v", i, failing)
		}
	}
	b.won()
	if !b.lost(failuresInARow) {
		t.Error("a time-out after a 2xx does not fail the endpoint")
	}
	if b.lost(failuresInARow) {
		t.Error("a second time-out says it again")
	}
}

func TestOurOwnFaultsCountForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		for range 20 {
			if fill(t, g, "s", "h", 1)[0].Leave(Neither) {
				t.Fatal("the endpoint fails by our own fault")
			}
		}
		fill(t, g, "s", "h", 8)
	})
}

func TestASlowAttemptHoldsBackItsEndpointAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		slow := fill(t, g, "slow", "h", 1)[0]
		time.Sleep(oldAfter + time.Millisecond)
		wantRefused(t, g, "slow", "h", Limit{}, Slow)
		fill(t, g, "other", "h", 1)
		slow.Leave(TimeOut)
		wantRefused(t, g, "slow", "h", Limit{}, Failing)
		probe, refusal := enter(g, "slow", "h", Limit{Probe: true})
		if probe == nil {
			t.Fatalf("the probe of a failing endpoint was refused: %s", refusal)
		}
		probe.Leave(Won)
		fill(t, g, "slow", "h", 1)
	})
}

func TestAReplicaTakesItsOwnWordForAFailingEndpointForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		fill(t, g, "s", "h", 1)[0].Leave(TimeOut)
		time.Sleep(failingFor)
		wantRefused(t, g, "s", "h", Limit{}, Failing)
		time.Sleep(time.Millisecond)
		if !fill(t, g, "s", "h", 1)[0].Leave(Lost) {
			t.Error("one more failure does not make it fail again")
		}
		wantRefused(t, g, "s", "h", Limit{}, Failing)
		time.Sleep(failingFor + time.Millisecond)
		fill(t, g, "s", "h", 1)[0].Leave(Won)
		if fill(t, g, "s", "h", 1)[0].Leave(Lost) {
			t.Error("a 2xx did not end the row")
		}
	})
}

func TestAWishToBeLeftAloneFailsTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		if !fill(t, g, "s", "h", 1)[0].Leave(Asked) {
			t.Error("the endpoint does not fail as a whole")
		}
		wantRefused(t, g, "s", "h", Limit{}, Failing)
	})
}

func TestASuspectHostGetsOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		var slow []*Ticket
		for i := range hostOld {
			slow = append(slow, fill(t, g, fmt.Sprint("slow", i), "shared", 1)...)
		}
		fill(t, g, "fresh", "shared", 1)
		time.Sleep(oldAfter)
		g.Sweep(time.Now())
		probe := fill(t, g, "a", "shared", 1)[0]
		wantRefused(t, g, "b", "shared", Limit{}, Suspect)
		fill(t, g, "b", "another host", 1)
		probe.Leave(Won)
		fill(t, g, "b", "shared", 1)[0].Leave(Won)
		for _, ticket := range slow {
			ticket.Leave(TimeOut)
		}
		fill(t, g, "c", "shared", 2) // suspect no more
	})
}

func TestAHostThatDoesNotAnswerGetsNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		var flying []*Ticket
		for i := range 250 {
			flying = append(flying, fill(t, g, fmt.Sprint("s", i), "shared", 1)...)
		}
		time.Sleep(hostSilent - 1)
		fill(t, g, "in time", "shared", 1)
		time.Sleep(time.Nanosecond)
		wantRefused(t, g, "another", "shared", Limit{}, Suspect)
		if got := g.Ask("another", "shared", Limit{}); got != Suspect {
			t.Errorf("asked beforehand: %q", got)
		}
		fill(t, g, "another", "another host", 1)
		flying[0].Leave(Lost) // an answer
		for i := range 10 {
			fill(t, g, fmt.Sprint("more", i), "shared", 1)
		}
		time.Sleep(hostSilent)
		wantRefused(t, g, "last", "shared", Limit{}, Suspect)
		for _, ticket := range flying[1:20] {
			ticket.Leave(TimeOut) // none
		}
		fill(t, g, "last", "shared", 1)
		time.Sleep(oldAfter)
		g.Sweep(time.Now())
		fill(t, g, "probe", "shared", 1)
		wantRefused(t, g, "beside it", "shared", Limit{}, Suspect)
	})
}

func TestAFewSlotsAreNotDividedAmongHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(16)
		for i := range 16 {
			fill(t, g, fmt.Sprint("s", i), "shared", 1)
		}
	})
}

func TestWhenOldAttemptsHoldAQuarterOnlyTheVouchedForEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(40)
		fill(t, g, "good", "h0", 1)[0].Leave(Won)
		for i := range 10 {
			fill(t, g, fmt.Sprint("slow", i), fmt.Sprint("h", i), 1)
		}
		time.Sleep(oldAfter)
		g.Sweep(time.Now())
		if g.Old() != 10 {
			t.Fatalf("%d old attempts, want 10", g.Old())
		}
		unknown := fill(t, g, "unknown", "hx", 1)[0] // once: after a start nobody has a recent 2xx
		wantRefused(t, g, "unknown", "hx", Limit{}, Crowded)
		unknown.Leave(Lost)
		wantRefused(t, g, "unknown", "hx", Limit{}, Crowded)
		fill(t, g, "good", "h0", 2)
		for i := range 10 {
			fill(t, g, fmt.Sprint("more", i), fmt.Sprint("m", i), 1)
		}
		time.Sleep(oldAfter)
		g.Sweep(time.Now())
		wantRefused(t, g, "another", "hy", Limit{}, Crowded) // half of the slots are gone
		time.Sleep(recent)
		wantRefused(t, g, "better", "h0", Limit{}, Crowded)
	})
}

func TestASuspectHostStaysSoUntilItAnswersInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		var slow []*Ticket
		for i := range hostOld {
			slow = append(slow, fill(t, g, fmt.Sprint("slow", i), "shared", 1)...)
		}
		time.Sleep(oldAfter)
		g.Sweep(time.Now())
		for _, ticket := range slow {
			ticket.Leave(TimeOut)
		}
		for i := range 3 {
			probe := fill(t, g, fmt.Sprint("a", i), "shared", 1)[0]
			wantRefused(t, g, "b", "shared", Limit{}, Suspect)
			time.Sleep(5 * time.Second)
			g.Sweep(time.Now())
			probe.Leave(TimeOut)
		}
		fill(t, g, "c", "shared", 1)[0].Leave(Lost) // an answer, in time
		fill(t, g, "d", "shared", 5)
	})
}

// TestAHostThatAnswersLateIsTrustedAgain: it is slow, and delivers.
func TestAHostThatAnswersLateIsTrustedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		var slow []*Ticket
		for i := range 2 * hostOld {
			slow = append(slow, fill(t, g, fmt.Sprint("slow", i), "shared", 1)...)
		}
		time.Sleep(1500 * time.Millisecond)
		g.Sweep(time.Now())
		for i, ticket := range slow {
			if i <= hostOld {
				wantRefusedBesideAProbe(t, g, "shared", Suspect)
			}
			ticket.Leave(Won)
		}
		fill(t, g, "more", "shared", 8)
	})
}

// wantRefusedBesideAProbe takes the one place that a suspect host has, asks for
// another one and gives the first back.
func wantRefusedBesideAProbe(t *testing.T, g *Gate, host string, want Refusal) {
	t.Helper()
	probe := fill(t, g, "probe", host, 1)[0]
	wantRefused(t, g, "beside it", host, Limit{}, want)
	probe.Leave(Neither)
}

func TestALate2xxDoesNotVouchForAHostOnWhichOthersHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		var slow, hanging []*Ticket
		for i := range hostOld {
			slow = append(slow, fill(t, g, fmt.Sprint("slow", i), "shared", 1)...)
			hanging = append(hanging, fill(t, g, fmt.Sprint("hanging", i), "shared", 1)...)
		}
		time.Sleep(1500 * time.Millisecond)
		g.Sweep(time.Now())
		for _, ticket := range slow[1:] {
			ticket.Leave(Won)
			wantRefusedBesideAProbe(t, g, "shared", Suspect)
		}
		time.Sleep(3500 * time.Millisecond)
		for _, ticket := range hanging {
			ticket.Leave(TimeOut)
		}
		wantRefusedBesideAProbe(t, g, "shared", Suspect)
		slow[0].Leave(Lost) // late, and no 2xx
		wantRefusedBesideAProbe(t, g, "shared", Suspect)
		probe := fill(t, g, "slow1", "shared", 1)[0]
		time.Sleep(1500 * time.Millisecond)
		g.Sweep(time.Now())
		probe.Leave(Won)
		fill(t, g, "more", "shared", 8)
	})
}

// TestASlowHostKeepsItsShareOfTheSlotsAndWorks sends at a steady rate to a host with many
// surveys, beginning with a burst that makes it suspect.
func TestASlowHostKeepsItsShareOfTheSlotsAndWorks(t *testing.T) {
	const slots = 2000
	for name, c := range map[string]struct {
		rate, hang  int           // events a second; of so many surveys in 10 each attempt hangs
		took        time.Duration // by the others
		most, least int           // attempts under way; 2xx a second in the last half minute
	}{
		"as many as it can take":      {rate: 30, took: 1500 * time.Millisecond, most: 150, least: 28},
		"more":                        {rate: 200, took: 1500 * time.Millisecond, most: 300, least: 80},
		"much more, and it is slower": {rate: 500, took: 4 * time.Second, most: slots/hostShare + 500/5 + hostOld, least: 40},
		"a tenth of its surveys hang": {rate: 500, hang: 1, took: 1200 * time.Millisecond, most: 450, least: 1},
		"nine tenths of them hang":    {rate: 1500, hang: 9, took: 1200 * time.Millisecond, most: 450, least: 1},
		"all of them hang":            {rate: 1500, hang: 10, most: slots/hostShare + 1500/5 + hostOld, least: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(slots)
				most := 0
				var late atomic.Int64 // 2xx of the last half minute
				begin := func(i int, counts bool) {
					took, end := c.took, Won
					if i%10 < c.hang {
						took, end = 5*time.Second, TimeOut
					}
					ticket, _ := enter(g, fmt.Sprint("s", i%3000), "shared", Limit{})
					if ticket == nil {
						return
					}
					most = max(most, g.Flying())
					time.AfterFunc(took, func() {
						ticket.Leave(end)
						if counts && end == Won {
							late.Add(1)
						}
					})
				}
				sent := 0
				for tick := range 600 { // of a tenth of a second
					if tick == 0 {
						for ; sent < 64; sent++ {
							begin(sent, false)
						}
					}
					for range c.rate / 10 {
						time.Sleep(time.Second / time.Duration(c.rate))
						synctest.Wait()
						begin(sent, tick >= 300)
						sent++
					}
					g.Sweep(time.Now())
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				won := int(late.Load())
				t.Logf("%d under way at most, %d 2xx a second", most, won/30)
				if most > c.most {
					t.Errorf("%d attempts were under way, want at most %d", most, c.most)
				}
				if won < c.least*30 {
					t.Errorf("%d 2xx in half a minute, want at least %d", won, c.least*30)
				}
			})
		})
	}
}

func TestAnOwnersLimitsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		fill(t, g, "s", "h", 2)
		wantRefused(t, g, "s", "h", Limit{InFlight: 2}, Limited)

		for range 10 {
			ticket, refusal := enter(g, "paced", "h", Limit{PerSecond: 10})
			if ticket == nil {
				t.Fatalf("refused within its rate: %s", refusal)
			}
			ticket.Leave(Won)
		}
		wantRefused(t, g, "paced", "h", Limit{PerSecond: 10}, Limited)
		time.Sleep(100 * time.Millisecond)
		ticket, _ := enter(g, "paced", "h", Limit{PerSecond: 10})
		if ticket == nil {
			t.Error("refused although a token came")
		}
	})
}

// quick makes an endpoint known for answering within so long.
func quick(t *testing.T, g *Gate, survey string, took time.Duration) {
	t.Helper()
	first := fill(t, g, survey, "h", 1)[0]
	time.Sleep(took)
	first.Leave(Won)
}

func TestWhatIsAnsweredInAMomentWaitsForTheOwnersLimit(t *testing.T) {
	for name, c := range map[string]struct {
		took  time.Duration // 0: it has not answered yet
		limit int
		want  int
	}{
		"unknown": {0, 2, 0},
		"quick":   {20 * time.Millisecond, 2, 20}, // 2 at a time, for a fifth of a second
		"at once": {time.Microsecond, 2, queueLeast},
		"slower":  {150 * time.Millisecond, 4, 5},
		"slow":    {500 * time.Millisecond, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(2000)
				if c.took > 0 {
					quick(t, g, "s", c.took)
				}
				held := fill(t, g, "s", "h", c.limit)
				limit := Limit{InFlight: c.limit}
				got := make(chan *Ticket, c.want)
				for range c.want {
					if refusal := g.Ask("s", "h", limit); refusal != "" {
						t.Errorf("asked beforehand: %q, although it may wait", refusal)
					}
					go func() {
						ticket, _ := g.Enter(t.Context(), "s", "h", limit)
						got <- ticket
					}()
					synctest.Wait()
				}
				start := time.Now()
				if _, refusal := g.Enter(t.Context(), "s", "h", limit); refusal != Limited || time.Since(start) != 0 {
					t.Errorf("got %q after %s, want limited at once", refusal, time.Since(start))
				}
				if refusal := g.Ask("s", "h", limit); refusal != Limited {
					t.Errorf("asked beforehand: %q, want limited", refusal)
				}
				for range c.want {
					held[0].Leave(Won)
					held = append(held[1:], <-got)
					if held[len(held)-1] == nil {
						t.Fatal("one that waited was refused")
					}
				}
			})
		})
	}
}

// A lane, whose share of the limit is larger, may pass those that come live for as long as
// it has anything: their slots are better used by others.
func TestWhoWaitsForALimitGivesUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		quick(t, g, "s", 20*time.Millisecond)
		fill(t, g, "s", "h", 1)
		start := time.Now()
		if _, refusal := g.Enter(t.Context(), "s", "h", Limit{InFlight: 1}); refusal != Limited || time.Since(start) != 2*queueGoal {
			t.Errorf("got %q after %s, want limited after %s", refusal, time.Since(start), 2*queueGoal)
		}
	})
}

// TestATurnThatIsOfNoUseIsPassedOn: who gets it finds the owner's rate used up, which does
// not pass in a moment, for nobody of those that wait.
func TestATurnThatIsOfNoUseIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		quick(t, g, "s", 20*time.Millisecond)
		both := Limit{InFlight: 1, PerSecond: 1}
		held, _ := enter(g, "s", "h", both) // the one of this second
		start, refused := time.Now(), make(chan Refusal, 5)
		for range cap(refused) {
			go func() {
				_, refusal := g.Enter(t.Context(), "s", "h", both)
				refused <- refusal
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		held.Leave(Won)
		for range cap(refused) {
			if refusal := <-refused; refusal != Limited {
				t.Errorf("got %q, want limited", refusal)
			}
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("the last was refused after %s, want at once, after 10ms", took)
		}
	})
}

// TestALaneDoesNotWaitBehindWhatComesLive: its share of the owner's limit is larger.
func TestALaneDoesNotWaitBehindWhatComesLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		quick(t, g, "s", 20*time.Millisecond)
		held := fill(t, g, "s", "h", 4)
		order := make(chan string, 4)
		wait := func(who string, limit Limit) {
			go func() {
				if ticket, _ := g.Enter(t.Context(), "s", "h", limit); ticket != nil {
					order <- who
				}
			}()
			synctest.Wait()
		}
		wait("live", Limit{InFlight: 2})
		wait("live", Limit{InFlight: 2})
		wait("first of the lane", Limit{InFlight: 4})
		wait("second of the lane", Limit{InFlight: 4})
		for _, want := range []string{"first of the lane", "second of the lane"} {
			held[0].Leave(Won)
			held = held[1:]
			if got := <-order; got != want {
				t.Errorf("%s had its turn, want %s", got, want)
			}
		}
		held[0].Leave(Won)
		held[1].Leave(Won)
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("%s had its turn beside two others, its share is two", <-order)
		}
	})
}

func TestAFewEventsWaitTheirTurnAndNoLongerThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		held := fill(t, g, "s", "h", 8)
		got := make(chan Refusal, 2)
		for range 2 {
			go func() {
				_, refusal := g.Enter(t.Context(), "s", "h", Limit{})
				got <- refusal
			}()
		}
		synctest.Wait()
		held[0].Leave(Won)
		if refusal := <-got; refusal != "" {
			t.Errorf("the first in the queue was refused: %s", refusal)
		}
		start := time.Now()
		if refusal := <-got; refusal != Full && refusal != Slow {
			t.Errorf("the second got %q, want a refusal", refusal)
		}
		if waited := time.Since(start); waited != queueWait {
			t.Errorf("it waited %s, want %s", waited, queueWait)
		}
	})
}

// TestTheQueueIsAsLongAsTheEndpointIsQuick: parking costs more than waiting for an
// endpoint that answers at once; of any other, half of the slots stay for others.
func TestTheQueueIsAsLongAsTheEndpointIsQuick(t *testing.T) {
	for name, c := range map[string]struct {
		slots int
		took  time.Duration // 0: it has not answered yet
		want  int
	}{
		"unknown":   {2000, 0, queueLeast},
		"slow":      {2000, 500 * time.Millisecond, queueLeast},
		"quick":     {2000, 2 * time.Millisecond, 800}, // 8 at a time, for a fifth of a second
		"at once":   {2000, time.Microsecond, 2000},
		"few slots": {100, 0, 50},
		"one slot":  {1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(c.slots)
				if c.took > 0 {
					first := fill(t, g, "s", "h", 1)[0]
					time.Sleep(c.took)
					first.Leave(Won)
				}
				fill(t, g, "s", "h", 8)
				ctx, cancel := context.WithCancel(t.Context())
				for range c.want {
					go func() { _, _ = g.Enter(ctx, "s", "h", Limit{}) }()
				}
				synctest.Wait()
				if n := len(g.shard("s").endpoints["s"].queue); n != c.want {
					t.Errorf("%d wait, want %d", n, c.want)
				}
				start := time.Now()
				if _, refusal := g.Enter(t.Context(), "s", "h", Limit{}); refusal != Full || time.Since(start) != 0 {
					t.Errorf("got %q after %s, want full at once", refusal, time.Since(start))
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// TestAQuickEndpointThatHangsLetsGo: what waits in a long queue holds slots that others
// need.
func TestAQuickEndpointThatHangsLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		first := fill(t, g, "s", "h", 1)[0]
		time.Sleep(time.Millisecond)
		first.Leave(Won)
		fill(t, g, "s", "h", 8)
		start, longest := time.Now(), make(chan time.Duration, 1500)
		for range cap(longest) {
			go func() {
				if _, refusal := g.Enter(t.Context(), "s", "h", Limit{}); refusal != Full {
					t.Errorf("got %q, want full", refusal)
				}
				longest <- time.Since(start)
			}()
		}
		time.Sleep(2 * queueGoal)
		synctest.Wait()
		if n := len(g.shard("s").endpoints["s"].queue); n > queueLeast {
			t.Errorf("%d still wait after %s", n, 2*queueGoal)
		}
		for range cap(longest) {
			if waited := <-longest; waited > queueWait {
				t.Errorf("one waited %s", waited)
			}
		}
	})
}

func TestIdleEndpointsAndHostsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(2000)
		for i := range 1000 {
			fill(t, g, fmt.Sprint("s", i), fmt.Sprint("h", i), 1)[0].Leave(Won)
		}
		time.Sleep(IdleAfter + time.Second)
		g.Sweep(time.Now())
		for i := range g.shards {
			if n := len(g.shards[i].endpoints) + len(g.hosts[i].hosts); n != 0 {
				t.Errorf("shard %d remembers %d", i, n)
			}
		}
	})
}

func BenchmarkEnterLeave(b *testing.B) {
	g := NewGate(2000)
	surveys := make([]events.Survey, 1000)
	for i := range surveys {
		surveys[i] = events.Survey(fmt.Sprint("s", i))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			ticket, refusal := g.Enter(b.Context(), surveys[i%len(surveys)], "h", Limit{})
			if ticket == nil {
				b.Fatal(refusal)
			}
			ticket.Leave(Won)
		}
	})
}
