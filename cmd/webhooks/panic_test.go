package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// A command that panics fails like any other, and does not print what it had in hand:
// the runtime would, and exit with what means bad usage.
func TestACommandThatPanicsFailsAndShowsNothing(t *testing.T) {
	var out strings.Builder
	code := run(t.Context(), []string{"status"}, func(string) string { panic("with " + plantedPassword) }, strings.NewReader(""), &out, &out)
	if code != exitFailure || !strings.Contains(out.String(), "error: panic (run)") || !strings.Contains(out.String(), "panic_test.go:") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	leaktest.Plant(t, plantedPassword).In(t, "what was said", []byte(out.String()))
}

// Whoever interrupts a command that has panicked over one thing of many is told of the
// panic all the same: nobody else will be.
func TestAPanicIsToldAlthoughTheCommandWasInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var unheard *panics.Guard
	panicked := unheard.Try(panics.PlaceRun, func() error { panic("with " + plantedPassword) })
	var out strings.Builder
	w := &world{ctx: ctx, errw: &out}
	code := w.fail(errors.Join(ctx.Err(), fmt.Errorf("dead letter 7: %w", panicked)))
	if said := out.String(); code != exitInterrupted || !strings.HasPrefix(said, "interrupted\nerror: ") || !strings.Contains(said, "dead letter 7: panic (run)") || !strings.Contains(said, "panic_test.go:") {
		t.Errorf("exit code %d: %s", code, said)
	}
	leaktest.Plant(t, plantedPassword).In(t, "what was said", []byte(out.String()))
	out.Reset()
	if code := w.fail(ctx.Err()); code != exitInterrupted || out.String() != "interrupted\n" {
		t.Errorf("without a panic: exit code %d: %s", code, out.String())
	}
}

// panickingBus panics at the next pull once it is armed.
type panickingBus struct {
	jetstream.JetStream
	armed *atomic.Bool
}

func (b panickingBus) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	if b.armed.CompareAndSwap(true, false) {
		panic("with " + plantedSecret)
	}
	return b.JetStream.Consumer(ctx, stream, name)
}

// What a panic leaves of the fetch loop is not known: the service ends and says why,
// so that whoever runs it starts it again; and closes everything in order.
func TestAPanicInTheFetchLoopEndsTheService(t *testing.T) {
	var log lockedBuffer
	v := open(t, t.TempDir(), zerolog.New(&log))
	armed := &atomic.Bool{}
	v.consumer = consumer.New(panickingBus{v.js, armed}, v.store, v.client, consumer.Options{
		Layout: v.layout, MaxBytes: events.MaxBytes, Slots: 100, Replica: v.replica, Log: v.log, History: v.history, Panics: v.panics,
	})
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	armed.Store(true)
	go func() { ended <- v.run(ctx) }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "panic (run)") || (&world{ctx: ctx}).codeOf(err) == exitOK {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it goes on")
		stop()
		t.Log(<-ended)
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(scrape(t, v.metrics)), `webhooks_panics_total{place="run"} 1`) {
		t.Error("it is not counted")
	}
	leaktest.Plant(t, plantedSecret).In(t, "the log", []byte(log.String()))
}

// panickingInput panics at its first read, with what was typed.
type panickingInput struct{}

func (panickingInput) Read([]byte) (int, error) { panic("with " + plantedSecret) }

// Input is read in goroutines of their own, where nobody else would catch it: whoever
// waits for it gets an error.
func TestAPanicWhileInputIsReadIsAnErrorAndShowsNothing(t *testing.T) {
	_, read := io.ReadAll(&interruptible{ctx: t.Context(), in: panickingInput{}})
	for what, err := range map[string]error{"input": read, "an answer": <-typedYes(panickingInput{})} {
		if !errors.As(err, new(*panics.Panic)) {
			t.Errorf("%s: got %v", what, err)
		}
		leaktest.Plant(t, plantedSecret).InValue(t, what, err)
	}
}

// A receiver to develop against that panics answers with 500, says where, and goes on.
func TestAPanicInAReceiverIsAnsweredAndShowsNothing(t *testing.T) {
	var screen, standard lockedBuffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(&standard) // where net/http would say it
	first := true
	r := &receiver{status: http.StatusOK, print: func(q received) {
		if first {
			first = false
			panic("with " + q.Body)
		}
	}}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, (&world{ctx: ctx, errw: &screen}).surviving(r)) }()
	for _, want := range []int{http.StatusInternalServerError, http.StatusOK} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String(), strings.NewReader(plantedSecret))
		must(t, err)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		must(t, err)
		said, err := io.ReadAll(resp.Body)
		must(t, errors.Join(err, resp.Body.Close()))
		if resp.StatusCode != want {
			t.Errorf("answered %s, want %d", resp.Status, want)
		}
		leaktest.Plant(t, plantedSecret).In(t, "the answer", said)
	}
	stop()
	must(t, <-ended)
	if !strings.Contains(screen.String(), "error: panic (admin)") || !strings.Contains(screen.String(), "panic_test.go:") {
		t.Errorf("it says %q", screen.String())
	}
	leaktest.Plant(t, plantedSecret).In(t, "what was said", []byte(screen.String()+standard.String()))
}
