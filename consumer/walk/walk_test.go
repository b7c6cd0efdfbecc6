package walk_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/walk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes the stream S and publishes n messages, in turn on s.0, s.1 and s.2.
func fill(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	must(t, err)
	publish(t, js, n)
}

func publish(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		_, err := js.PublishAsync(fmt.Sprint("s.", i%3), fmt.Append(nil, "body ", i))
		must(t, err)
	}
	<-js.PublishAsyncComplete()
}

func all(t *testing.T, js jetstream.JetStream, o walk.Options) (found []walk.Message) {
	t.Helper()
	for m, err := range walk.Stream(t.Context(), js, "S", o) {
		must(t, err)
		found = append(found, m)
	}
	return found
}

func TestAWalkGivesEveryMessageOnceAndInOrder(t *testing.T) {
	js := bustest.Start(t)
	fill(t, js, 3000)
	found := all(t, js, walk.Options{})
	if len(found) != 3000 {
		t.Fatalf("%d messages, want 3000", len(found))
	}
	for i, m := range found {
		if m.Sequence != uint64(i+1) || m.Body != nil || m.Left != uint64(2999-i) || m.Size() != int64(len(fmt.Append(nil, "body ", i))) {
			t.Fatalf("message %d is %+v of %d bytes", i, m, m.Size())
		}
	}
}

func TestAWalkKeepsToItsSubjectsAndItsBeginning(t *testing.T) {
	js := bustest.Start(t)
	fill(t, js, 300)
	for name, c := range map[string]struct {
		o    walk.Options
		want int
	}{
		"one subject":                        {walk.Options{Subjects: []string{"s.1"}}, 100},
		"one that the stream cannot hold":    {walk.Options{Subjects: []string{"elsewhere"}}, 0},
		"one of both":                        {walk.Options{Subjects: []string{"s.1", "elsewhere"}}, 100},
		"from a sequence":                    {walk.Options{From: 299}, 2},
		"from a sequence that is not there":  {walk.Options{From: 1000}, 0},
		"a subject on which nothing is said": {walk.Options{Subjects: []string{"s.9"}}, 0},
	} {
		c.o.Bodies = true
		found := all(t, js, c.o)
		if len(found) != c.want {
			t.Errorf("%s: %d messages, want %d", name, len(found), c.want)
		}
		for _, m := range found {
			if want := fmt.Sprint("body ", m.Sequence-1); string(m.Body) != want {
				t.Errorf("%s: message %d has body %q, want %q", name, m.Sequence, m.Body, want)
			}
		}
	}
}

func TestAWalkEndsWhereTheStreamStoodWhenItBegan(t *testing.T) {
	js := bustest.Start(t)
	fill(t, js, 10)
	n := 0
	for m, err := range walk.Stream(t.Context(), js, "S", walk.Options{}) {
		must(t, err)
		n++
		publish(t, js, 1) // whoever reads must not run after those who write
		_ = m
	}
	if n != 10 {
		t.Errorf("%d messages, want the 10 there were", n)
	}
}

func TestAWalkEndsAlthoughItsLastMessagesAreRemovedMeanwhile(t *testing.T) {
	js := bustest.Start(t)
	fill(t, js, 2000)
	stream, err := js.Stream(t.Context(), "S")
	must(t, err)
	n := 0
	for _, err := range walk.Stream(t.Context(), js, "S", walk.Options{}) {
		must(t, err)
		if n++; n == 1 {
			must(t, stream.Purge(t.Context(), jetstream.WithPurgeKeep(0)))
		}
	}
	if n < 1 || n == 2000 {
		t.Errorf("%d messages of a stream that was emptied", n)
	}
}

func TestAWalkGoesOnBehindALostConnection(t *testing.T) {
	for name, lose := range map[string]func(s *bustest.Server, nc *nats.Conn){
		"it is there again at once": func(_ *bustest.Server, nc *nats.Conn) { must(t, nc.ForceReconnect()) },
		"the server starts again":   func(s *bustest.Server, _ *nats.Conn) { s.Halt(); time.AfterFunc(patience/3, s.Boot) },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, s *bustest.Server, nc *nats.Conn, js jetstream.JetStream) {
				n := 0
				for m, err := range walk.Stream(t.Context(), js, "S", walk.Options{}) {
					must(t, err)
					if n++; m.Sequence != uint64(n) {
						t.Fatalf("message %d came as number %d", m.Sequence, n)
					}
					if n == 700 {
						lose(s, nc)
					}
				}
				if n != 2000 {
					t.Errorf("%d messages, want 2000", n)
				}
			})
		})
	}
}

func TestAWalkOverALostConnectionGivesUpInTheEnd(t *testing.T) {
	story(t, func(t *testing.T, s *bustest.Server, _ *nats.Conn, js jetstream.JetStream) {
		n, began := 0, time.Now()
		var last error
		for _, err := range walk.Stream(t.Context(), js, "S", walk.Options{}) {
			if last = err; err != nil {
				break
			}
			if n++; n == 700 {
				s.Halt()
			}
		}
		if took := time.Since(began); last == nil || took < patience || took > 3*patience {
			t.Errorf("it ends after %s with %v", took, last)
		}
		s.Boot()
	})
}

// patience is how long a walk puts up with a connection over which nothing comes.
const patience = 15 * time.Second

// story is a test of a stream of 2,000 messages in a bubble.
func story(t *testing.T, tell func(t *testing.T, s *bustest.Server, nc *nats.Conn, js jetstream.JetStream)) {
	t.Helper()
	bustest.EmptyPools()
	synctest.Test(t, func(t *testing.T) {
		s := bustest.New(t, server.Options{})
		nc := s.Connect()
		js := bustest.JetStream(t, nc)
		fill(t, js, 2000)
		tell(t, s, nc, js)
		nc.Close()
		s.Halt()
	})
}

func TestAWalkStopsWhenItIsTold(t *testing.T) {
	js := bustest.Start(t)
	fill(t, js, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for m, err := range walk.Stream(ctx, js, "S", walk.Options{}) {
		if last = err; err == nil && m.Sequence == 3 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("it ends with %v", last)
	}
	for _, err := range walk.Stream(t.Context(), js, "S", walk.Options{}) {
		must(t, err)
		break // and its reader is forgotten
	}
	stream, err := js.Stream(t.Context(), "S")
	must(t, err)
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d readers are left behind", n)
	}
	for _, err := range walk.Stream(t.Context(), js, "nothing", walk.Options{}) {
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("a stream that is not there: %v", err)
		}
	}
}
