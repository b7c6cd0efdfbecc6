package lanes

import (
	"context"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// Standing is one event as it stands in its lane, without its body.
type Standing struct {
	Waiting

	Sequence uint64 // in the lanes stream
	Bytes    int64  // of its body
	Foreign  bool   // another version parked it: only the survey, Sequence and Bytes are known
	Left     uint64 // how many more there are to read
}

// All reads the lanes as they stand, headers alone: one survey's, or with an empty
// survey every one. An event that was delivered a moment ago may still be there,
// and one that was parked twice is there twice until its owner has seen it. An
// error is the last thing given.
func All(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey) iter.Seq2[Standing, error] {
	o := walk.Options{}
	if survey != "" {
		o.Subjects = []string{names.LaneSubject(survey)}
	}
	return func(yield func(Standing, error) bool) {
		for m, err := range walk.Stream(ctx, js, names.Lanes(), o) {
			if err != nil {
				yield(Standing{}, err)
				return
			}
			if s, ours := standing(m); ours && !yield(s, nil) {
				return
			}
		}
	}
}

func standing(m walk.Message) (Standing, bool) {
	survey, err := events.ParseSurvey(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	if err != nil {
		return Standing{}, false
	}
	s := Standing{Sequence: m.Sequence, Bytes: m.Size(), Left: m.Left}
	s.Waiting, err = read(m.Header, nil)
	s.Survey, s.Foreign = survey, err != nil
	return s, true
}

// Tally is what waits in one lane.
type Tally struct {
	Survey  events.Survey
	Events  int
	Bytes   int64   // of their bodies
	Foreign int     // of the events: another version parked them
	Oldest  Waiting // the first that was published; zero when all are foreign
}

// add counts one event.
func (t *Tally) add(s Standing) {
	t.Survey = s.Survey
	t.Events++
	t.Bytes += s.Bytes
	switch {
	case s.Foreign:
		t.Foreign++
	case t.Oldest.Source == 0, s.Source < t.Oldest.Source:
		t.Oldest = s.Waiting
	}
}

// Census counts what waits, lane by lane, and holds no more than a tally of each.
// progress, when given, hears how many events were read, and how many there are.
// What was counted stands when the error says that not everything was.
func Census(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey, progress func(read, all int64)) (map[events.Survey]*Tally, error) {
	tallies := map[events.Survey]*Tally{}
	n := int64(0)
	for s, err := range All(ctx, js, names, survey) {
		if err != nil {
			return tallies, err
		}
		t := tallies[s.Survey]
		if t == nil {
			t = &Tally{}
			tallies[s.Survey] = t
		}
		t.add(s)
		if n++; progress != nil {
			progress(n, n+int64(s.Left)) //nolint:gosec // far from what an int64 holds
		}
	}
	return tallies, nil
}
