package consumer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/consumer/formats"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/events"
)

// newerHeader marks a message as a newer version's.
func newerHeader() nats.Header {
	return nats.Header{"Popsee-Format": {"2"}, "Popsee-Source-Sequence": {"9999"}}
}

// plantMessages stores messages that a newer version may write.
func (w *world) plantMessages(survey string) {
	w.t.Helper()
	names := w.layout.Names
	for _, subject := range []string{names.LaneSubject(events.Survey(survey)), names.DeadSubject("s1"), names.AttemptsSubject(0)} {
		_, err := w.js.PublishMsg(w.t.Context(), &nats.Msg{Subject: subject, Header: newerHeader(), Data: []byte("newer")})
		must(w.t, err)
	}
}

// standing is what is left of a newer version's in a stream or bucket.
func (w *world) standing() string {
	w.t.Helper()
	all, err := formats.Newer(w.t.Context(), w.js, w.layout.Names)
	must(w.t, err)
	var parts []string
	for _, l := range all {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, ", ")
}

// Every kind of thing that is stored, in a format that a newer version may write:
// it stands where it stood afterwards, its neighbours are delivered, and it is said.
func TestWhatANewerVersionWroteIsLeftAloneAndSaid(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		s1 := w.endpoint("s1").answers(500)
		w.endpoint("s2")
		w.endpoint("s3")
		values := map[string]map[string]string{
			w.layout.Names.Health():    {"s2": `{"format":"2","state":["failing"]}`},
			w.layout.Names.Replays():   {"abcdefgh": `{"format":"2","jobs":[]}`},
			w.layout.Names.Endpoints(): {"s3": `{"url":"http://receiver.test/s3","enabled":true,"compression":"zstd"}`},
			w.layout.Names.Leases():    {"00": `["a newer replica's"]`},
		}
		for bucket, keys := range values {
			for key, value := range keys {
				_, err := w.bucket(bucket).PutString(t.Context(), key, value)
				must(t, err)
			}
		}
		w.start()
		for _, survey := range []string{"s1", "s2", "s3"} {
			w.publish(survey)
		}
		w.advance(10 * time.Second)
		w.plantMessages("s1")
		first := w.publishMany("s1", 20)
		w.advance(10 * time.Second)
		s1.answers(200)
		w.advance(2 * time.Minute)
		second := w.publishMany("s1", 5)
		w.advance(time.Second)
		w.wantAllDelivered(slices.Concat(first, second))
		if got, want := w.standing(), "1 waiting events, 1 dead letters, 1 messages of the delivery log, 1 health records, 1 replays"; got != want {
			t.Errorf("what is left of a newer version: %q, want %q", got, want)
		}
		for bucket, keys := range values {
			for key, value := range keys {
				e, err := w.bucket(bucket).Get(context.Background(), key)
				if err != nil || string(e.Value()) != value {
					t.Errorf("%s of bucket %s has become %q (%v)", key, bucket, e.Value(), err)
				}
			}
		}
		for _, said := range []string{
			"a parked event cannot be read and is left alone", "it counts as healthy here", "a replay cannot be read and is left alone", "compression: unknown field",
		} {
			w.wantLog(said)
		}
		w.wantRequests("s3", 0) // its event waits until this version, or another one, understands the endpoint
	})
}

// A mark that cannot be judged is not judged, and above all not written over.
func TestAMarkOfANewerVersionIsNeitherJudgedNorMoved(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		r := w.start()
		ids := w.publishMany("s1", 3)
		w.advance(5 * time.Second)
		const value = `{"format":"2","places":{"RESPONSES":3}}`
		kv := w.bucket(w.layout.Names.State())
		_, err := kv.PutString(t.Context(), "mark", value)
		must(t, err)
		ids = append(ids, w.publishMany("s1", 3)...)
		w.advance(time.Minute)
		w.wantAllDelivered(ids) // what runs goes on
		if err := r.consumer.Ready(); !errors.As(err, new(*mark.Newer)) {
			t.Errorf("ready says %v", err)
		}
		late := w.start()
		if err := <-late.done; !errors.As(err, new(*mark.Newer)) {
			t.Errorf("a replica that starts says %v", err)
		}
		late.done <- nil
		r.leave()
		if e, err := kv.Get(t.Context(), "mark"); err != nil || string(e.Value()) != value {
			t.Errorf("the mark has become %q (%v)", e.Value(), err)
		}
		w.wantLog("the mark has format")
		if got := w.standing(); got != "1 marks" {
			t.Errorf("what is left of a newer version: %q", got)
		}
	})
}
