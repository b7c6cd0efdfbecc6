package main

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/events"
)

// TestAConnectionThatIsClosedForGoodEndsTheProcess closes a working service's
// connection under it, as the client does when it gives up: nothing would ever be
// delivered again. The service ends by itself, and the program says why, with a code
// for which it is started again.
func TestAConnectionThatIsClosedForGoodEndsTheProcess(t *testing.T) {
	external := testSettings(t.TempDir())
	external.NATS.URL, external.Keys.Ring = externalNATS(t, &server.Options{}).ClientURL(), newRing(t)
	for name, s := range map[string]config.Settings{"to a NATS of one's own": external, "to the embedded one": testSettings(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			v, err := openService(t.Context(), s, noEnv, zerolog.Nop())
			must(t, err)
			ended := make(chan error, 1)
			go func() { ended <- v.run(t.Context()) }()
			owner := &ownersServer{accepted: map[string]int{}}
			receiver := httptest.NewServer(owner)
			defer receiver.Close()
			connect(t, v, "s1", receiver.URL, plantedSecret)
			_, err = events.NewPublisher(v.js, events.PublisherOptions{}).Publish(t.Context(), event("s1", "r1"))
			must(t, err)
			within(t, func() string {
				if !owner.has("r1") {
					return "the service does not work"
				}
				return ""
			})

			v.nc.Close()
			select {
			case err = <-ended:
			case <-time.After(patience):
				t.Fatal("the service goes on without a connection")
			}
			var said bytes.Buffer
			w := &world{ctx: t.Context(), errw: &said}
			if code := w.fail(errors.Join(err, v.close())); code != exitFailure {
				t.Errorf("the program ends with %d, want %d", code, exitFailure)
			}
			wantSaid(t, said.String(), "error: the NATS connection was closed for good: nats: connection closed\n", "hint: start the service again")
		})
	}
}
