package lanes

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// TestCopiesAreReadDirectlyWhereOneServerHasThem, and over the API where that is not
// answered: by a stream that does not allow it any more, or to a user who may not ask.
func TestCopiesAreReadDirectlyWhereOneServerHasThem(t *testing.T) {
	for name, c := range map[string]struct{ allowed, mayAsk bool }{
		"directly":                   {true, true},
		"not allowed any more":       {false, true},
		"the user has not the right": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			user := server.User{Username: "service", Password: "secret", Permissions: &server.Permissions{}}
			if !c.mayAsk {
				user.Permissions.Publish = &server.SubjectPermission{Deny: []string{"$JS.API.DIRECT.GET.>"}}
			}
			s := bustest.New(t, server.Options{Users: []*server.User{&user}})
			t.Cleanup(s.Halt)
			nc := s.Connect(nats.UserInfo("service", "secret"))
			t.Cleanup(nc.Close)
			js := bustest.JetStream(t, nc)
			lanes := (layout.Layout{}).Own()[0]
			stream, err := js.CreateStream(t.Context(), lanes)
			must(t, err)
			parked := waiting("s1", 7)
			must(t, Park(t.Context(), js, events.Names{}, parked))
			o := New(js, nil, Options{})
			o.lookNear(stream)
			if lanes.AllowDirect = c.allowed; !c.allowed {
				_, err := js.UpdateStream(t.Context(), lanes)
				must(t, err)
			}
			for range 2 {
				w, err := o.fetch(t.Context(), "s1", entryOf(parked, 1))
				must(t, err)
				if w == nil || w.EventID != "r7" || w.Source != 7 || string(w.Body) != "{}" {
					t.Errorf("got %+v, want what was parked", w)
				}
			}
			if got := o.near.Load() != nil; got != (c.allowed && c.mayAsk) {
				t.Errorf("copies are still read directly: %t", got)
			}
		})
	}
}

// TestCopiesOfAClusterAreReadFromTheLeader: a server that has not heard of a removal
// would give what was delivered.
func TestCopiesOfAClusterAreReadFromTheLeader(t *testing.T) {
	js := bustest.StartCluster(t)
	lanes := (layout.Layout{Replicas: 3}).Own()[0]
	for _, allowed := range []bool{lanes.AllowDirect, true} { // whatever somebody has made of it
		lanes.AllowDirect = allowed
		stream, err := js.CreateOrUpdateStream(t.Context(), lanes)
		must(t, err)
		o := New(js, nil, Options{})
		o.lookNear(stream)
		if o.near.Load() != nil {
			t.Errorf("copies of a stream with three replicas are read from whoever is near (allow_direct is %t)", allowed)
		}
	}
	if (layout.Layout{Replicas: 3}).Own()[0].AllowDirect {
		t.Error("the lanes stream of a cluster allows it")
	}
}

// TestACopyThatIsNotThereYetIsNotTakenForGone: in a cluster the feed may tell of a
// copy before the server it is fetched from has stored it.
func TestACopyThatIsNotThereYetIsNotTakenForGone(t *testing.T) {
	js := bustest.Start(t)
	for _, cfg := range (layout.Layout{}).Own() {
		_, err := js.CreateStream(t.Context(), cfg)
		must(t, err)
	}
	o, parked := New(js, nil, Options{}), waiting("s1", 7)
	late := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		late <- Park(t.Context(), js, events.Names{}, parked)
	}()
	w, err := o.fetch(t.Context(), "s1", entryOf(parked, 1))
	must(t, <-late)
	must(t, err)
	if w == nil || w.EventID != "r7" {
		t.Fatalf("got %+v, want the event that came a moment later", w)
	}
	must(t, o.remove(t.Context(), "s1", removal{singles: []entry{entryOf(parked, 1)}}))
	if w, err := o.fetch(t.Context(), "s1", entryOf(parked, 1)); w != nil || err != nil {
		t.Errorf("what was removed is fetched as %+v, %v", w, err)
	}
}
