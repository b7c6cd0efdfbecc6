package mark

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return born.Add(time.Duration(seconds) * time.Second) }

// walked is a mark that was moved once a second, ten events each.
func walked(seconds int) mark {
	m := newMark(0, born, at(0))
	for s := 1; s <= seconds; s++ {
		m = m.moved(uint64(10*s), at(s))
	}
	return m
}

func TestTheBoundIsTheFloorOfFiveSecondsBeforeTheLastMark(t *testing.T) {
	if got := walked(100).bound(); got != 950 {
		t.Errorf("bound is %d, want 950", got)
	}
}

func TestAYoungMarkIsBoundByItsFirstFloor(t *testing.T) {
	if got := walked(3).bound(); got != 0 {
		t.Errorf("bound is %d, want 0", got)
	}
}

func TestAMarkRemembersThirtySecondsAndTheNewestBefore(t *testing.T) {
	m := walked(100)
	if n := len(m.Recent); n != 32 {
		t.Errorf("remembers %d floors, want 32", n)
	}
	if m = m.moved(5000, at(1000)); len(m.Recent) != 2 || m.bound() != 1000 {
		t.Errorf("after a long quiet it remembers %d floors and is bound by %d, want 2 and 1000", len(m.Recent), m.bound())
	}
}

func TestAMarkSurvivesItsEncoding(t *testing.T) {
	m := walked(40)
	got, err := parseMark(m.encode())
	if err != nil || got.Floor != m.Floor || !got.Created.Equal(m.Created) || got.bound() != m.bound() {
		t.Errorf("got %+v (%v), want %+v", got, err, m)
	}
	if _, err := parseMark([]byte("{")); err == nil {
		t.Error("half a mark is taken for one")
	}
}

func TestAMarkOfBeforeThereWasAFormatReadsTheSame(t *testing.T) {
	m, err := parseMark([]byte(`{"floor":7,"stream_created":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:09Z"}`))
	if err != nil || m.Floor != 7 || !m.Created.Equal(born) {
		t.Errorf("got %+v (%v)", m, err)
	}
}

func TestAMarkOfANewerFormatIsNotGuessedAt(t *testing.T) {
	for _, value := range []string{`{"format":"2","floor":7}`, `{"format":"2","floor":"a place of another kind"}`} {
		_, err := parseMark([]byte(value))
		if newer := new(Newer); !errors.As(err, &newer) || newer.Format != "2" {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestJudge(t *testing.T) {
	m := walked(100)
	for name, c := range map[string]struct {
		m    *mark
		s    sight
		want standing
	}{
		"nothing at all is the first start":                  {nil, sight{Created: born}, standingFirst},
		"a consumer without a mark is adopted":               {nil, sight{Created: born, Consumer: true, Floor: 7}, standingAdopt},
		"a mark without a consumer means it was deleted":     {&m, sight{Created: born}, standingMissing},
		"a floor at the mark is fine":                        {&m, sight{Created: born, Consumer: true, Floor: 1000}, standingFine},
		"a floor a few seconds back is a killed server":      {&m, sight{Created: born, Consumer: true, Floor: 950}, standingFine},
		"a floor below that is lost state":                   {&m, sight{Created: born, Consumer: true, Floor: 949}, standingFallen},
		"an emptied state is lost state":                     {&m, sight{Created: born, Consumer: true}, standingFallen},
		"another creation time is another stream":            {&m, sight{Created: at(1), Consumer: true, Floor: 5000}, standingRecreated},
		"another stream without a consumer is still another": {&m, sight{Created: at(1)}, standingRecreated},
	} {
		if got := judge(c.m, c.s); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestParseResumePoint(t *testing.T) {
	m, s := walked(100), sight{Created: born, First: 17, Last: 4000}
	for text, want := range map[string]uint64{"mark": 1001, "first": 17, "new": 4001, "123": 123} {
		p, err := ParseResumePoint(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.start(&m, s); err != nil || got != want {
			t.Errorf("%s resumes at %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "last", "1.5"} {
		if _, err := ParseResumePoint(text); err == nil {
			t.Errorf("%q is taken for a place", text)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add(walked(40).encode())
	f.Add([]byte(`{"floor":18446744073709551615}`))
	f.Add([]byte(`{"recent":[{"at":"2026-01-01T00:00:00Z","floor":5}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := parseMark(value)
		if err != nil {
			return
		}
		if again, err := parseMark(m.encode()); err != nil || again.bound() != m.bound() {
			t.Errorf("%q does not survive its own encoding: %v", value, err)
		}
	})
}

// TestAConsumerThatWasJustMadeHasNotFallen: on a cluster its floor is 0 until it has
// a leader.
func TestAConsumerThatWasJustMadeHasNotFallen(t *testing.T) {
	m := walked(100)
	stream := &jetstream.StreamInfo{Created: born, State: jetstream.StreamState{FirstSeq: 1, LastSeq: 2000}}
	for name, c := range map[string]struct {
		start, floor uint64
		want         standing
	}{
		"made behind the mark":              {1001, 0, standingFine},
		"made behind it, and delivering":    {1001, 1500, standingFine},
		"made long ago, its state was lost": {1, 0, standingFallen},
		"made by somebody else, likewise":   {0, 0, standingFallen},
	} {
		t.Run(name, func(t *testing.T) {
			info := &jetstream.ConsumerInfo{AckFloor: jetstream.SequenceInfo{Stream: c.floor}, Config: jetstream.ConsumerConfig{OptStartSeq: c.start}}
			if got := judge(&m, sightOf(stream, info)); got != c.want {
				t.Errorf("standing %d, want %d", got, c.want)
			}
		})
	}
}
