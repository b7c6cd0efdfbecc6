package main

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) {
	holdDisk() // returns, but for what newDisk starts
	goleak.VerifyTestMain(m)
}

// TestEveryEventHasAPlaceOrIsLost: an oracle that never finds anything lost would
// pass every suite.
func TestEveryEventHasAPlaceOrIsLost(t *testing.T) {
	now := time.Now()
	w := whereabouts{
		floor: 100, first: 5, lane: map[int]bool{6: true, 7: true}, dead: map[int]string{7: disabled, 8: disabled, 9: "gave-up: 5xx"},
		owed: map[events.Survey]health.Record{surveyID(3): {OwedFrom: 50, OwedUntil: now.Add(time.Minute)}},
	}
	for name, c := range map[string]struct {
		i     int
		e     event
		taken []span
		want  verdict
	}{
		"a dead letter of a purge":         {8, event{survey: firstLeave, seq: 4}, []span{{first: 1, last: 4, owed: true}}, verdict{Dead: 1}},
		"dead for no purge":                {8, event{survey: firstLeave, seq: 4}, nil, verdict{Dead: 1, Buried: []int{8}}},
		"dead, and published behind it":    {8, event{survey: firstLeave, seq: 5}, []span{{first: 1, last: 4, owed: true}}, verdict{Dead: 1, Buried: []int{8}}},
		"dead for another reason":          {9, event{survey: firstLeave, seq: 4}, []span{{first: 1, last: 4, owed: true}}, verdict{Dead: 1, Buried: []int{9}}},
		"of an endpoint that flaps":        {8, event{survey: firstFlap, seq: 4}, []span{{first: 1, last: 4}}, verdict{Dead: 1, Buried: []int{8}}},
		"of an endpoint that hangs":        {8, event{survey: firstHang, seq: 10}, nil, verdict{Dead: 1, Buried: []int{8}}},
		"of an endpoint that is busy":      {8, event{survey: firstBusy, seq: 10}, nil, verdict{Dead: 1, Buried: []int{8}}},
		"a dead letter that was delivered": {8, event{survey: firstFlap, seq: 10, accepted: 1}, nil, verdict{Delivered: 1, Buried: []int{8}}},
		"delivered":                        {1, event{seq: 10, accepted: 1}, nil, verdict{Delivered: 1}},
		"delivered twice":                  {1, event{seq: 10, accepted: 2}, nil, verdict{Delivered: 1}},
		"waiting, and a dead letter":       {7, event{seq: 10}, nil, verdict{Waiting: 1, Buried: []int{7}}},
		"owed":                             {1, event{survey: 3, seq: 60, acked: now}, nil, verdict{Owed: 1}},
		"from before the promise":          {1, event{survey: 3, seq: 40, acked: now}, nil, verdict{Lost: []int{1}}},
		"from after the promise":           {1, event{survey: 3, seq: 60, acked: now.Add(time.Hour)}, nil, verdict{Lost: []int{1}}},
		"without a webhook":                {1, event{survey: withOne, seq: 10}, nil, verdict{NoWebhook: 1}},
		"to come":                          {1, event{seq: 101}, nil, verdict{Live: 1}},
		"to come, without a webhook":       {1, event{survey: withOne, seq: 101}, nil, verdict{Live: 1}},
		"let go, and nowhere":              {1, event{seq: 100}, nil, verdict{Lost: []int{1}}},
		"purged":                           {1, event{seq: 100}, []span{{first: 90, last: 110}}, verdict{Taken: 1}},
		"purged, but it waits":             {6, event{seq: 100}, []span{{first: 90, last: 110}}, verdict{Waiting: 1}},
		"owed, and purged":                 {1, event{survey: firstLeave, seq: 4}, []span{{first: 1, last: 4, owed: true}}, verdict{Taken: 1}},
		"not owed, and let go before":      {1, event{seq: 4}, []span{{first: 1, last: 4, owed: true}}, verdict{Lost: []int{1}}},
		"gone from the stream by itself":   {1, event{seq: 4}, nil, verdict{Lost: []int{1}}},
		"let go while another was purged":  {1, event{seq: 80}, []span{{first: 90, last: 110}}, verdict{Lost: []int{1}}},
		"promised, and not in the stream":  {1, event{survey: 3, seq: 3, acked: now}, nil, verdict{Lost: []int{1}}},
		"in another event's place in time": {5, event{seq: 99}, nil, verdict{Lost: []int{5}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(map[int]event{c.i: c.e}, w, c.taken)
			c.want.Acked = 1
			if got.String() != c.want.String() || !slices.Equal(got.Lost, c.want.Lost) || !slices.Equal(got.Buried, c.want.Buried) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestALedgerKnowsDuplicatesAndWhatAFaultExposes(t *testing.T) {
	l := &ledger{name: "x"}
	i := l.next(4)
	l.acked(i, 9)
	end := l.begin()
	for range 2 {
		l.accept(i)
	}
	if got := l.totals(); got != (totals{Published: 1, Acked: 1, Delivered: 1, Again: 1}) {
		t.Errorf("counted %+v", got)
	}
	if n := l.exposed(time.Minute); n != 3 {
		t.Errorf("%d exposed, want the one without an answer and two answered just now", n)
	}
	end()
	if n := l.exposed(0); n != 0 {
		t.Errorf("%d exposed when all is answered", n)
	}
}

func TestThreeInTenEndpointsFail(t *testing.T) {
	failing := 0
	for i := range withOne {
		if k := kindOf(i); k != steady && (k != flapping || i%2 == 0) {
			failing++
		}
	}
	if failing != withOne*3/10 {
		t.Errorf("%d of %d fail", failing, withOne)
	}
}

func TestALinkThatIsCutCarriesNothingAndIsMended(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		for {
			c, err := far.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	l, err := newLink(t.Context(), far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if l.carries() {
		t.Error("a link that nobody uses carries")
	}
	before := echo(t, l, true)
	if !l.carries() {
		t.Error("a link that joins two ends does not carry")
	}
	l.sever()
	_ = before.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := before.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	if n, err := before.Read(make([]byte, 4)); n > 0 || err == nil {
		t.Error("a link that is cut carries")
	}
	echo(t, l, false).Close()
	l.mend()
	echo(t, l, true).Close()
	_ = before.SetDeadline(time.Now().Add(time.Second))
	if n, err := before.Read(make([]byte, 4)); n > 0 || err == nil {
		t.Error("what was under way when the link was cut arrives")
	}
	before.Close()
}

// echo dials over a link, and says whether that carries.
func echo(t *testing.T, l *link, want bool) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.address()) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if want {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	}
	_, _ = c.Write([]byte("here"))
	if _, err := io.ReadFull(c, make([]byte, 4)); (err == nil) != want {
		t.Fatalf("carries: %v, want %v", err == nil, want)
	}
	return c
}
