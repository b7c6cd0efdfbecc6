package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// farLink is a wire to a server far away: what is sent there arrives later. It gives
// the wire's near end.
func farLink(t *testing.T, to string, away time.Duration) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })
			work.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
			work.Go(func() { carryLate(far, near, away); _ = far.Close() })
		}
	})
	t.Cleanup(func() {
		stop()
		must(t, l.Close())
		work.Wait()
	})
	return l.Addr().String()
}

// carryLate passes on what it reads a while later, however much follows meanwhile.
func carryLate(to io.Writer, from io.Reader, late time.Duration) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes) // a reader that is gone ends the wire
		}
	})
	defer writing.Wait()
	defer close(pieces)
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		if err != nil {
			return
		}
		pieces <- piece{b[:n], time.Now().Add(late)}
	}
}

// TestAReplayOfAThousandSurveysCanBeAskedForFromFarAway asks for as many as one can,
// over a wire on which one question after the other would take twenty seconds.
func TestAReplayOfAThousandSurveysCanBeAskedForFromFarAway(t *testing.T) {
	t.Parallel()
	s := externalNATS(t, &server.Options{})
	js, err := jetstream.New(dial(t, s))
	must(t, err)
	_, err = js.CreateStream(t.Context(), layout.Layout{}.Events())
	must(t, err)
	_, err = js.Publish(t.Context(), "responses.completed.s1", event("s1", "r1"))
	must(t, err)
	_, err = provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop())
	must(t, err)
	kv, err := js.KeyValue(t.Context(), events.Names{}.Endpoints())
	must(t, err)
	q := replays.Request{Since: replays.Point{Name: "--since", Text: "1", Seq: 1}, Rate: 1}
	for i := range replay.MaxSurveys {
		survey := fmt.Sprint("s", i)
		value, err := config.Endpoint{Survey: events.Survey(survey), URL: "https://example.com/", Enabled: true}.Encode()
		must(t, err)
		_, err = kv.Put(t.Context(), survey, value)
		must(t, err)
		q.Surveys = append(q.Surveys, survey)
	}

	nc, err := nats.Connect("nats://" + farLink(t, s.Addr().String(), 20*time.Millisecond))
	must(t, err)
	defer nc.Close()
	far, err := jetstream.New(nc)
	must(t, err)
	began := time.Now()
	desk := replays.New(far, events.Names{}, nil)
	p, err := desk.Plan(t.Context(), q)
	if err != nil || len(p.Record.Surveys) != replay.MaxSurveys {
		t.Errorf("after %s: a plan for %d surveys, %v", time.Since(began), len(p.Record.Surveys), err)
	}
	must(t, kv.Delete(t.Context(), "s500"))
	must(t, kv.Delete(t.Context(), "s501"))
	var refused *replays.Refused
	if _, err = desk.Plan(t.Context(), q); !errors.As(err, &refused) || refused.Why != replays.NoEndpoint || refused.About != "s500" {
		t.Errorf("without an endpoint for s500 and s501 it says %v", err)
	}
}
