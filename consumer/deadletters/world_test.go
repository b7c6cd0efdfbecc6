package deadletters_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// maxPayload of the server in the stories: small, so that large is cheap.
const maxPayload = 64 << 10

// world is a real server with the service's streams, in or out of a bubble.
type world struct {
	t      testing.TB
	server *bustest.Server
	wire   *bustest.Wire
	nc     *nats.Conn
	js     jetstream.JetStream
	names  events.Names
	layout layout.Layout
	store  *deadletters.Store
}

// story runs f in a bubble around a fresh world.
func story(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		w.close()
	})
}

func newWorld(t testing.TB) *world {
	t.Helper()
	names, err := events.NewNames("eu")
	must(t, err)
	w := &world{t: t, wire: &bustest.Wire{}, names: names, layout: layout.Layout{Names: names}}
	w.server = bustest.New(t, server.Options{ServerName: "letters", MaxPayload: maxPayload, Users: users(w.names)})
	w.server.Over(w.wire)
	w.nc = w.connect("service")
	w.js, err = jetstream.New(w.nc)
	must(t, err)
	must(t, w.provision())
	w.store = deadletters.New(w.js, w.names)
	return w
}

// users are one who may do everything and one who may not write dead letters.
func users(names events.Names) []*server.User {
	return []*server.User{
		{Username: "service", Password: "p"},
		{Username: "reader", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: names.DeadSubjects()},
		}},
	}
}

func (w *world) connect(user string) *nats.Conn {
	w.t.Helper()
	return w.server.Connect(nats.UserInfo(user, "p"))
}

// provision creates the streams as production does.
func (w *world) provision() error {
	ctx := context.Background()
	for _, cfg := range append(w.layout.Own(), w.layout.Events()) {
		if _, err := w.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	w.nc.Close()
	w.server.Halt()
}

// publish puts an event on the event stream and gives the letter about it.
func (w *world) publish(survey, id, body string) deadletters.Letter {
	w.t.Helper()
	ack, err := w.js.Publish(w.ctx(), w.names.Subject(events.Survey(survey)), []byte(body))
	must(w.t, err)
	return deadletters.Letter{
		Survey: events.Survey(survey), EventID: id, Reason: "panic", Body: []byte(body), Source: ack.Sequence,
		Published: now(), Attempts: 1, First: now(), Last: now(),
	}
}

// letter is about an event that need not be on the event stream.
func letter(survey, id string, source uint64) deadletters.Letter {
	return deadletters.Letter{
		Survey: events.Survey(survey), EventID: id, Reason: "malformed", Body: []byte("body of " + id), Source: source, Published: now(),
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

func now() time.Time { return time.Now().Round(0).UTC() }

// list gives the letters a filter means.
func (w *world) list(f deadletters.Filter) []deadletters.Letter {
	w.t.Helper()
	var all []deadletters.Letter
	for l, err := range w.store.List(w.ctx(), f) {
		must(w.t, err)
		all = append(all, l)
	}
	return all
}

// ids of letters, in order.
func ids(letters []deadletters.Letter) string {
	var all []string
	for _, l := range letters {
		all = append(all, l.EventID)
	}
	return strings.Join(all, " ")
}

// wantIDs checks which letters a filter means.
func (w *world) wantIDs(f deadletters.Filter, want string) {
	w.t.Helper()
	if got := ids(w.list(f)); got != want {
		w.t.Errorf("letters %q, want %q", got, want)
	}
}

// park is a lane: it stores an event durably and returns after the ack.
func (w *world) park(ctx context.Context, l deadletters.Letter) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	msg := &nats.Msg{Subject: w.names.LaneSubject(l.Survey), Data: l.Body, Header: nats.Header{"Event": {l.EventID}}}
	_, err := w.js.PublishMsg(ctx, msg)
	return err
}

// parked is how often each event stands in a lane, by its id.
func (w *world) parked() map[string]int {
	w.t.Helper()
	s, err := w.js.Stream(w.ctx(), w.names.Lanes())
	must(w.t, err)
	all := map[string]int{}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(w.ctx(), seq)
		must(w.t, err)
		id := m.Header.Get("Event")
		if string(m.Data) != "body of "+id {
			w.t.Errorf("event %s stands in its lane as %.40q", id, m.Data)
		}
		all[id]++
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func id(i int) string { return fmt.Sprintf("r-%05d", i) }
