package consumer

import (
	"context"
	"runtime"
	gometrics "runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
)

// hands are the goroutines that handle pulled messages. They are kept: the stack of
// a goroutine has to grow to what an attempt needs, and growing it anew for every
// message cost a tenth of all CPU.
//
// Only so many messages are begun at once: a message takes a turn. What was pulled
// beyond them waits as bytes. Where endpoints answer at once, it is this CPU that
// attempts wait for, and two thousand half done, each on a connection and stacks that
// no cache has seen for long, cost a fifth more of it than two hundred. Where
// endpoints take their time the turns would be all there is to wait for: those of
// messages that take long are taken from them, whenever there is CPU to spare.
type hands struct {
	handle  func(errand)
	turns   chan struct{} // one for each message that may be begun now
	next    chan errand   // to whoever is idle
	waiting atomic.Int64  // messages that wait for a turn
	wanted  chan struct{} // capacity one: a message began to wait for a turn
	idle    atomic.Int64  // hands that wait for an errand
	done    sync.WaitGroup

	mu  sync.Mutex // guards all
	all []*hand
}

const (
	turnsEach = 128                   // for each CPU
	turnTime  = 10 * time.Millisecond // what took longer may lose its turn: far more than our own part takes, and 128 turns of it are more than a CPU can do
	keptIdle  = 256                   // hands that are kept without an errand: a burst makes more, which end after it

	// From so many goroutines for each CPU on that could run and do not, there is none to spare.
	busyEach = 4
)

// errand is one message to be handled, and when it was asked for.
type errand struct {
	ctx, work context.Context //nolint:containedctx // of the message, on its way to the goroutine that handles it
	msg       jetstream.Msg
	asked     time.Time
	by        *hand // whose turn it is; set as the message is begun
}

// hand is one goroutine.
type hand struct {
	began atomic.Int64 // when it took the turn it has, Unix ns; 0: it has none
}

func newHands(handle func(errand)) *hands {
	n := turnsEach * runtime.GOMAXPROCS(0)
	h := &hands{handle: handle, turns: make(chan struct{}, n), next: make(chan errand), wanted: make(chan struct{}, 1)}
	for range n {
		h.turns <- struct{}{}
	}
	return h
}

// do waits for a turn and has the message handled by whoever is idle.
func (h *hands) do(e errand) {
	h.take()
	select {
	case h.next <- e:
	default:
		h.done.Go(func() { h.work(e) })
	}
}

func (h *hands) take() {
	select {
	case <-h.turns:
		return
	default:
	}
	h.waiting.Add(1)
	defer h.waiting.Add(-1)
	h.want()
	<-h.turns
}

// want tells lend that a message waits for a turn.
func (h *hands) want() {
	select {
	case h.wanted <- struct{}{}:
	default:
	}
}

// work handles one message and those that follow, until enough others are idle.
func (h *hands) work(e errand) {
	me := h.join()
	defer h.leave(me)
	for ok := true; ok; {
		me.began.Store(time.Now().UnixNano())
		e.by = me
		h.handle(e)
		h.pass(me, me.began.Load())
		if h.idle.Add(1) > keptIdle {
			h.idle.Add(-1)
			return
		}
		e, ok = <-h.next
		h.idle.Add(-1)
	}
}

// pass gives the turn back that was taken then, unless that has happened.
func (h *hands) pass(of *hand, began int64) {
	if began != 0 && of.began.CompareAndSwap(began, 0) {
		h.turns <- struct{}{}
	}
}

// rest gives the turn back of a message that from here on waits for NATS alone. An
// event on its way into a lane would keep others from being tried meanwhile, and where
// CPU is short nobody takes its turn from it. A nil hand, of a message that needed no
// turn, has none.
func (h *hands) rest(of *hand) {
	if of != nil {
		h.pass(of, of.began.Load())
	}
}

func (h *hands) join() *hand {
	me := &hand{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, me)
	return me
}

func (h *hands) leave(me *hand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.all, me)
	h.all[i] = h.all[len(h.all)-1]
	h.all[len(h.all)-1] = nil
	h.all = h.all[:len(h.all)-1]
}

// lend takes turns from messages that take long, while others wait for one and there
// is CPU for them, until ctx ends.
func (h *hands) lend(ctx context.Context) {
	for {
		select {
		case <-h.wanted:
		case <-ctx.Done():
			return
		}
		if !wait.For(ctx, turnTime) {
			return
		}
		if !crowded() {
			h.takeBack(time.Now().Add(-turnTime).UnixNano())
		}
		if h.waiting.Load() > 0 {
			h.want()
		}
	}
}

// takeBack takes the turns that were taken before a time.
func (h *hands) takeBack(before int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.all {
		if began := one.began.Load(); began <= before {
			h.pass(one, began)
		}
	}
}

// crowded says whether this process waits for CPU more than for anything else.
func crowded() bool {
	s := []gometrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	gometrics.Read(s)
	return s[0].Value.Uint64() > uint64(busyEach*runtime.GOMAXPROCS(0)) //nolint:gosec // a small positive number
}

// finish waits until every message is handled. No other may follow.
func (h *hands) finish() {
	close(h.next)
	h.done.Wait()
}
