package main

import (
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
)

// noon is when every story here is published.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func later(d time.Duration) time.Time { return noon.Add(d) }

// published is a response that a replica was given and that is settled, told of
// an hour later.
func published(change func(f *facts)) *facts {
	f := &facts{
		now: later(time.Hour), id: "r1", survey: "s1", stream: "RESPONSES", sequence: 12, published: noon,
		live: liveFacts{there: true, start: 1, delivered: 20, floor: 20}, owned: true, replicas: 2,
	}
	change(f)
	return f
}

func attempt(at time.Duration, number int, v delivery.Verdict, status int, reason delivery.Reason) deliverylog.Record {
	return deliverylog.Record{
		Kind: deliverylog.KindAttempt, EventID: "r1", At: later(at), Number: number, Host: "example.com", Took: 12 * time.Millisecond, Verdict: v, Status: status, Reason: reason,
		Runs: []deliverylog.Run{{From: 12, To: 12}},
	}
}

func settlement(kind deliverylog.Kind, at time.Duration) deliverylog.Record {
	return deliverylog.Record{Kind: kind, At: later(at), Runs: []deliverylog.Run{{From: 10, To: 14}}}
}

func standing(at time.Duration, dueNow bool, reason string) *lanes.Standing {
	return &lanes.Standing{Waiting: lanes.Waiting{EventID: "r1", Source: 12, Published: noon, Parked: later(at), DueNow: dueNow, Reason: reason}}
}

func TestStories(t *testing.T) {
	failing := health.Record{Since: later(-time.Hour), Failures: 7, Reason: "timeout", NextProbe: later(time.Hour + 40*time.Second)}
	givenUpBy := health.Record{Disabled: &health.Disabled{At: later(time.Minute), By: health.ByEndpoint, Why: "it answered 410 Gone", Revision: 3}}
	for name, c := range map[string]struct {
		f        *facts
		state    whereabouts
		story    []string // parts of its lines, in order
		ending   []string // parts of now and next
		commands []string
		notes    []string
	}{
		"delivered at the first try": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(time.Second, 1, delivery.Delivered, 200, "2xx")}
			}),
			isDelivered,
			[]string{"published: sequence 12 of RESPONSES", "try 1 at example.com: accepted, status 200 after 12ms"},
			[]string{"delivered at 2026-01-31T12:00:01Z"},
			nil, nil,
		},
		"delivered from its lane, though its copy is still seen": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{
					attempt(time.Second, 1, delivery.Again, 0, "timeout"), settlement(deliverylog.KindParked, 2*time.Second), attempt(time.Minute, 2, delivery.Delivered, 204, "2xx"),
				}
				f.waiting = standing(2*time.Second, true, "timeout")
			}),
			isDelivered,
			[]string{"published", "try 1 at example.com: no answer, timeout after 12ms", "put into its lane", "try 2 at example.com: accepted, status 204"},
			[]string{"delivered at"},
			nil, nil,
		},
		"delivered, and redriven since": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(time.Second, 1, delivery.Delivered, 200, "2xx")}
				f.waiting = standing(time.Minute, true, reasonRedriven)
			}),
			isWaiting,
			[]string{"published", "accepted", "redriven: put back into its lane"},
			[]string{"waits in its lane", "as soon as its turn comes"},
			nil, nil,
		},
		"waiting for an endpoint that fails": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{settlement(deliverylog.KindParked, time.Second)}
				f.waiting, f.health = standing(time.Second, true, "timeout"), failing
			}),
			isWaiting,
			[]string{"published", "put into its lane, to wait"},
			[]string{"its endpoint fails since 2026-01-31T11:00:00Z (2 h ago), last: timeout", "one event is tried at 2026-01-31T13:00:40Z (in 40 s)"},
			nil, nil,
		},
		"waiting because it fails by itself": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(time.Second, 1, delivery.Again, 400, "4xx")}
				f.waiting = standing(time.Second, false, "4xx")
			}),
			isWaiting,
			[]string{"published", "not accepted, status 400 after 12ms", "put into its lane, to wait: 4xx"},
			[]string{"it fails by itself, with 4xx", "tried again at about 2026-01-31T14:0"},
			nil, nil,
		},
		"waiting because it fails by itself, though its endpoint failed when it was parked": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{
					attempt(time.Second, 1, delivery.Again, 0, "timeout"), settlement(deliverylog.KindParked, 2*time.Second),
					attempt(9*time.Minute, 2, delivery.Again, 503, "5xx"), attempt(40*time.Minute, 3, delivery.Again, 400, "4xx"),
				}
				f.waiting = standing(2*time.Second, true, "timeout")
			}),
			isWaiting,
			[]string{"published", "timeout", "put into its lane", "status 503", "status 400"},
			[]string{"it fails by itself, with 4xx", "tried again at about 2026-01-31T14:0"},
			nil, nil,
		},
		"waiting because it fails by itself, redriven": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(11*time.Minute, 4, delivery.Again, 422, "4xx")}
				f.waiting = standing(10*time.Minute, true, reasonRedriven)
			}),
			isWaiting, nil,
			[]string{"it fails by itself, with 4xx", "tried again at about 2026-01-31T14:1"},
			nil, nil,
		},
		"waiting for its turn, as its endpoint works again since it was tried": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(11*time.Minute, 2, delivery.Again, 0, "timeout")}
				f.waiting = standing(time.Second, true, "timeout")
				f.health.Recovered = later(50 * time.Minute)
			}),
			isWaiting, nil,
			[]string{"as soon as its turn comes"},
			nil, nil,
		},
		"waiting for its turn after a try that was our own fault": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(11*time.Minute, 2, delivery.Ours, 0, "secret")}
				f.waiting = standing(10*time.Minute, true, "owed")
			}),
			isWaiting, nil,
			[]string{"as soon as its turn comes"},
			nil, nil,
		},
		"waiting at the end of its schedule": {
			published(func(f *facts) { f.now, f.waiting = later(100*time.Hour), standing(time.Second, false, "4xx") }),
			isWaiting, nil,
			[]string{"its schedule has ended: after one more try it becomes a dead letter"},
			nil, nil,
		},
		"waiting, its schedule counted from the recovery of its endpoint": {
			published(func(f *facts) {
				f.now, f.waiting = later(100*time.Hour), standing(time.Second, false, "4xx")
				f.health.Recovered = later(99 * time.Hour)
			}),
			isWaiting, nil,
			[]string{"tried again at about 2026-02-04T17:"},
			nil, nil,
		},
		"waiting while the owner has switched the endpoint off": {
			published(func(f *facts) { f.waiting, f.obstacle = standing(time.Second, true, "disabled"), switchedOff }),
			isWaiting, nil,
			[]string{"its owner has switched the endpoint off", "when the endpoint is switched on"},
			[]string{"webhooks endpoint enable s1"},
			nil,
		},
		"waiting while the service has disabled the endpoint": {
			published(func(f *facts) {
				f.waiting, f.obstacle, f.health = standing(time.Second, true, "disabled"), givenUp, givenUpBy
			}),
			isWaiting, nil,
			[]string{"is disabled since 2026-01-31T12:01:00Z (59 min ago) by the endpoint itself: it answered 410 Gone"},
			[]string{"webhooks endpoint enable s1"},
			nil,
		},
		"waiting for an endpoint that was removed": {
			published(func(f *facts) { f.waiting, f.obstacle = standing(time.Second, true, "5xx"), noEndpoint }),
			isWaiting, nil,
			[]string{"no endpoint any more", "it becomes a dead letter"},
			[]string{"webhooks endpoint set s1 --url"},
			nil,
		},
		"waiting for an endpoint that is not valid, and nobody works on the lane": {
			published(func(f *facts) {
				f.waiting, f.obstacle, f.owned = standing(time.Second, true, "unusable-endpoint"), notValid, false
			}),
			isWaiting, nil,
			[]string{"its endpoint is not valid"},
			[]string{"webhooks endpoint get s1"},
			[]string{"no replica works on its lane"},
		},
		"owed to an endpoint that fails": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{settlement(deliverylog.KindOwed, time.Second)}
				f.health = failing
				f.health.OwedFrom, f.health.OwedUntil = 5, later(time.Hour)
			}),
			isOwed,
			[]string{"published", "left to be brought into its lane later"},
			[]string{"owed, from the event stream", "its endpoint is tried at 2026-01-31T13:00:40Z"},
			nil, nil,
		},
		"owed to an endpoint that is disabled": {
			published(func(f *facts) {
				f.obstacle, f.health = givenUp, givenUpBy
				f.health.OwedFrom, f.health.OwedUntil = 5, later(time.Hour)
			}),
			isOwed, nil,
			[]string{"owed", "it answered 410 Gone"},
			[]string{"webhooks endpoint enable s1"},
			nil,
		},
		"owed, and about to be brought": {
			published(func(f *facts) { f.health.OwedFrom, f.health.OwedUntil = 5, later(time.Hour) }),
			isOwed, nil,
			[]string{"brought into its lane and sent as soon as there is room"},
			nil, nil,
		},
		"brought into its lane": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{settlement(deliverylog.KindOwed, time.Second)}
				f.waiting = standing(time.Minute, true, "owed")
			}),
			isWaiting,
			[]string{"published", "left to be brought", "brought into its lane from the event stream"},
			[]string{"as soon as its turn comes"},
			nil, nil,
		},
		"a dead letter": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{attempt(time.Second, 1, delivery.Again, 400, "4xx"), settlement(deliverylog.KindDead, time.Minute)}
				f.letters = []deadletters.Letter{{Sequence: 4, Buried: later(time.Minute), Reason: "gave-up: 4xx", Detail: "Bad Request"}}
			}),
			isDead,
			[]string{"published", "status 400", "became dead letter 4: gave-up: 4xx, Bad Request"},
			[]string{"dead letter 4", "until it is redriven"},
			[]string{"webhooks dead-letters redrive 4"},
			nil,
		},
		"a dead letter of a survey without an endpoint": {
			published(func(f *facts) {
				f.letters, f.obstacle = []deadletters.Letter{{Sequence: 4, Buried: later(time.Minute), Reason: "no-endpoint"}}, noEndpoint
			}),
			isDead, nil,
			[]string{"until its survey has an endpoint"},
			[]string{"webhooks endpoint set s1 --url https://…", "webhooks dead-letters redrive 4"},
			nil,
		},
		"a dead letter of an endpoint that is disabled": {
			published(func(f *facts) {
				f.letters, f.obstacle = []deadletters.Letter{{Sequence: 4, Buried: later(time.Minute), Reason: "disabled"}}, givenUp
			}),
			isDead, nil,
			[]string{"until its endpoint is enabled"},
			[]string{"webhooks endpoint enable s1", "webhooks dead-letters redrive 4"},
			nil,
		},
		"a dead letter that is no event": {
			published(func(f *facts) {
				f.letters, f.noEvent = []deadletters.Letter{{Sequence: 4, Buried: later(time.Second), Reason: "malformed"}}, "malformed event at byte 7"
			}),
			isDead, nil,
			[]string{"can never be delivered as it is: malformed event at byte 7"},
			[]string{"webhooks dead-letters show 4"},
			nil,
		},
		"a dead letter that is too large": {
			published(func(f *facts) {
				f.letters = []deadletters.Letter{{Sequence: 4, Buried: later(time.Second), Reason: "too-large", Bytes: 3 << 20}}
			}),
			isDead, nil,
			[]string{"takes events of 3145728 bytes (--event-max-bytes)"},
			[]string{"webhooks dead-letters redrive 4"},
			nil,
		},
		"the newest of two dead letters": {
			published(func(f *facts) {
				f.letters = []deadletters.Letter{{Sequence: 4, Buried: later(time.Second)}, {Sequence: 9, Buried: later(time.Minute)}}
			}),
			isDead,
			[]string{"published", "dead letter 4", "dead letter 9"},
			[]string{"dead letter 9"},
			[]string{"webhooks dead-letters redrive 9"},
			nil,
		},
		"a dead letter that is gone": {
			published(func(f *facts) { f.records = []deliverylog.Record{settlement(deliverylog.KindDead, time.Second)} }),
			isGone,
			[]string{"published", "became a dead letter"},
			[]string{"redrove or deleted it, or its 90 days were over"},
			nil, nil,
		},
		"no webhook": {
			published(func(f *facts) { f.records = []deliverylog.Record{settlement(deliverylog.KindNoWebhook, time.Second)} }),
			isUnowed,
			[]string{"published", "the survey had no webhook"},
			[]string{"nothing is owed"},
			nil, nil,
		},
		"ahead of the live consumer, which waits for a person": {
			published(func(f *facts) { f.live.delivered, f.live.floor, f.alarm = 9, 9, "the stream is another one" }),
			isAhead,
			[]string{"published"},
			[]string{"no replica has been given it yet, 2 events are before it", "when its turn comes"},
			nil,
			[]string{"nothing new is delivered until a person decides: the stream is another one"},
		},
		"without a live consumer and without replicas": {
			published(func(f *facts) { f.live, f.replicas = liveFacts{}, 0 }),
			isAhead, nil,
			[]string{"the live consumer does not exist"},
			nil,
			[]string{"no replica of the service runs"},
		},
		"in hand, after a try that was our own fault": {
			published(func(f *facts) {
				f.live.floor = 11
				f.records = []deliverylog.Record{attempt(time.Second, 1, delivery.Ours, 0, "secret")}
			}),
			isInHand,
			[]string{"published", "our own fault, secret, not counted against it"},
			[]string{"all up to sequence 11 are", "being tried right now"},
			nil, nil,
		},
		"settled longer ago than the log reaches": {
			published(func(f *facts) { f.logFrom = later(time.Minute) }),
			isSettled,
			[]string{"published"},
			[]string{"how is no longer in the delivery log"},
			nil,
			[]string{"the delivery log begins at 2026-01-31T12:01:00Z"},
		},
		"settled, where the log lost records": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{{Kind: deliverylog.KindDropped, Records: 3, Runs: []deliverylog.Run{{From: 10, To: 14}}}}
			}),
			isSettled,
			[]string{"published"},
			[]string{"settled; how is not in the delivery log"},
			nil,
			[]string{"lost 3 records of sequences 10 to 14"},
		},
		"parked, and neither there nor delivered": {
			published(func(f *facts) { f.records = []deliverylog.Record{settlement(deliverylog.KindParked, time.Second)} }),
			isSettled, nil,
			[]string{"was in its lane and is not any more"},
			nil, nil,
		},
		"owed, and forgotten": {
			published(func(f *facts) {
				f.records = []deliverylog.Record{settlement(deliverylog.KindOwed, time.Second)}
				f.health.OwedFrom, f.health.OwedUntil = 18, later(2*time.Hour)
			}),
			isSettled, nil,
			[]string{"it was owed and is not any more: it was forgotten with webhooks endpoint enable --no-replay"},
			nil, nil,
		},
		"from before the service began": {
			published(func(f *facts) { f.live.start = 15 }),
			isSettled, nil,
			[]string{"before sequence 15, where the live consumer began"},
			nil, nil,
		},
		"published more than once": {
			published(func(f *facts) { f.copies = []uint64{3, 7} }),
			isSettled, nil, nil, nil,
			[]string{"published 3 times; this is the story of the newest, the others are at sequences 3, 7 of RESPONSES"},
		},
		"gone from the event stream, replayed before": {
			published(func(f *facts) {
				r := attempt(time.Second, 1, delivery.Delivered, 200, "2xx")
				r.Replay = "may"
				f.gone, f.records = true, []deliverylog.Record{r}
			}),
			isDelivered,
			[]string{"published", "try 1 at example.com, in replay may: accepted"},
			nil, nil,
			[]string{"its bytes have left the event stream"},
		},
	} {
		st := c.f.tell()
		if st.State != c.state {
			t.Errorf("%s: it is %s, want %s (%s)", name, st.State, c.state, st.Now)
		}
		var lines []string
		for _, l := range st.Lines {
			lines = append(lines, l.What)
		}
		if c.story != nil && len(lines) != len(c.story) {
			t.Errorf("%s: %d lines, want %d: %q", name, len(lines), len(c.story), lines)
		}
		wantInOrder(t, name, lines, c.story)
		wantInOrder(t, name, []string{st.Now + "; " + st.Next}, c.ending)
		wantInOrder(t, name, st.Notes, c.notes)
		if len(st.Notes) != len(c.notes) {
			t.Errorf("%s: notes %q", name, st.Notes)
		}
		if len(st.Commands) != len(c.commands) {
			t.Errorf("%s: commands %q, want %q", name, st.Commands, c.commands)
		}
		wantInOrder(t, name, st.Commands, c.commands)
	}
}

// wantInOrder checks that the parts are in the lines, one after the other.
func wantInOrder(t *testing.T, name string, lines, parts []string) {
	t.Helper()
	rest := strings.Join(lines, "\n")
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("%s: %q is not said, or not in its place, in %q", name, part, lines)
			return
		}
		rest = after
	}
}
