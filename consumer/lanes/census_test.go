package lanes

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

func TestACensusCountsEveryLaneAndKnowsItsOldest(t *testing.T) {
	js := bustest.Start(t)
	names, err := events.NewNames("eu")
	must(t, err)
	for _, cfg := range (layout.Layout{Names: names}).Own() {
		_, err := js.CreateStream(t.Context(), cfg)
		must(t, err)
	}
	for i := range 1500 {
		survey := events.Survey(fmt.Sprint("s", i%3))
		must(t, Park(t.Context(), js, names, Waiting{
			Survey: survey, EventID: fmt.Sprint("r", i), Source: uint64(5000 - i), Published: at(0), Parked: at(0), Reason: "timeout", Body: []byte("12345"),
		}))
	}
	_, err = js.PublishMsg(t.Context(), &nats.Msg{
		Subject: names.LaneSubject("s1"), Header: nats.Header{events.FormatHeader: {"2"}}, Data: []byte("1234567"),
	})
	must(t, err)
	last := int64(0)
	all, err := Census(t.Context(), js, names, "", func(read, all int64) {
		if last = read; all != 1501 {
			t.Fatalf("%d of %d", read, all)
		}
	})
	must(t, err)
	if len(all) != 3 || last != 1501 {
		t.Errorf("%d lanes, %d events told of", len(all), last)
	}
	for survey, want := range map[events.Survey]Tally{
		"s0": {Survey: "s0", Events: 500, Bytes: 2500, Oldest: Waiting{EventID: "r1497"}},
		"s1": {Survey: "s1", Events: 501, Bytes: 2507, Foreign: 1, Oldest: Waiting{EventID: "r1498"}},
		"s2": {Survey: "s2", Events: 500, Bytes: 2500, Oldest: Waiting{EventID: "r1499"}},
	} {
		got := *all[survey]
		if got.Oldest.EventID != want.Oldest.EventID || got.Oldest.Survey != survey || got.Oldest.Reason != "timeout" {
			t.Errorf("the oldest of %s is %+v, want %s", survey, got.Oldest, want.Oldest.EventID)
		}
		if got.Events != want.Events || got.Bytes != want.Bytes || got.Foreign != want.Foreign || got.Survey != survey {
			t.Errorf("%s: %+v, want %+v", survey, got, want)
		}
	}
	one, err := Census(t.Context(), js, names, "s2", nil)
	if err != nil || len(one) != 1 || one["s2"].Events != 500 {
		t.Errorf("one lane: %+v, %v", one, err)
	}
	none, err := Census(t.Context(), js, names, "nobody", nil)
	if err != nil || len(none) != 0 {
		t.Errorf("a lane that is not there: %+v, %v", none, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
