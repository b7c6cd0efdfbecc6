package consumer_test

import (
	"fmt"
	"testing"
	"time"
)

// TestAStopEndsAlthoughNATSIsSilent stops a replica while ten endpoints of each shard
// are being probed, and nothing reaches NATS or comes from there: as with a server
// whose disk was full, which answers no write any more. Each probe's end is to be
// written, and waited for; it may not be waited for one after the other.
func TestAStopEndsAlthoughNATSIsSilent(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		surveys := make([]string, 10*storyShards)
		for i := range surveys {
			surveys[i] = fmt.Sprint("s", i)
			w.endpointAt(surveys[i], surveys[i]+".test").follows(answer{status: 200, after: time.Minute})
		}
		r := w.start()
		for _, survey := range surveys {
			w.publish(survey)
		}
		w.advance(12 * time.Second) // time-outs after 5 s, probes 5 s later
		probed := 0
		for _, survey := range surveys {
			probed += len(w.internet.at(survey).seen()) - 1
		}
		if probed != len(surveys) {
			t.Errorf("%d of %d endpoints are being probed", probed, len(surveys))
		}
		w.wire.Hold()
		began := time.Now()
		r.stop()
		late := time.AfterFunc(25*time.Second, r.kill) // as the service does
		err := <-r.done
		late.Stop()
		if took := time.Since(began); took > 28*time.Second {
			t.Errorf("the stop took %s", took)
		}
		w.wire.Release()
		r.done <- err
		r.wait()
		r.expire()
		for _, survey := range surveys {
			w.internet.at(survey).follows(answer{status: 200})
		}
		w.start()
		w.advance(time.Minute)
		for id := range w.published {
			w.wantDelivered(id, 1)
		}
		w.wantParked(0)
	})
}
