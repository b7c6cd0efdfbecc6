package audit

// Fate is what became of one sequence. The set is closed.
type Fate uint8

// The fates, in the order in which they are shown.
const (
	Delivered     Fate = iota // answered 2xx
	WaitingLive               // not settled by the live consumer
	WaitingLane               // a copy stands in its lane
	Owed                      // promised to be brought into its lane
	DeadLetter                // given up on, and kept
	LetterRemoved             // given up on, and no longer kept
	NoWebhook                 // nothing is owed
	Forgotten                 // erased because somebody asked for that
	NotOurs                   // a message of another subject
	TooOld                    // published before the delivery log begins
	RecordDropped             // the log counted a loss that may be its record; it still stands in the event stream
	Unproven                  // nothing tells how it ended; it still stands in the event stream
	Lost                      // nothing tells how it ended, and it has left the event stream

	fates = iota
)

// Fates lists every fate.
func Fates() []Fate {
	all := make([]Fate, 0, fates)
	for f := range Fate(fates) {
		all = append(all, f)
	}
	return all
}

// String is the fate's word, in tables and in JSON.
func (f Fate) String() string {
	return [fates]string{
		"delivered", "waiting-live", "waiting-lane", "owed", "dead-letter", "letter-removed", "no-webhook", "forgotten", "not-ours", "too-old", "record-dropped", "unproven", "lost",
	}[f]
}

// MarshalText implements encoding.TextMarshaler.
func (f Fate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// evidence is what is known of one sequence, one bit for each place.
type evidence uint16

const (
	stored    evidence = 1 << iota // it stands in the event stream
	foreign                        // and is none of ours
	delivered                      // the log: answered 2xx
	unowed                         // the log: its survey had no webhook
	buried                         // the log: it became a dead letter
	letter                         // a dead letter stands there
	lane                           // a copy stands in its lane
	promised                       // a promise covers it
	forgotten                      // the log: it was erased
)

// edges are where the range's parts begin.
type edges struct {
	floor uint64 // every sequence up to here is settled
	old   uint64 // every sequence up to here was published before the delivery log begins
}

// judge is the only place that decides what became of a sequence.
func judge(e evidence, seq uint64, at edges) Fate {
	has := func(bit evidence) bool { return e&bit != 0 }
	switch {
	case has(foreign):
		return NotOurs
	case has(delivered):
		return Delivered
	case has(lane):
		return WaitingLane
	case has(letter):
		return DeadLetter
	case has(stored) && seq > at.floor:
		return WaitingLive
	case has(stored) && has(promised):
		return Owed
	case has(forgotten):
		return Forgotten
	case has(unowed):
		return NoWebhook
	case has(buried):
		return LetterRemoved
	case seq <= at.old:
		return TooOld
	case has(stored):
		return Unproven
	default:
		return Lost
	}
}
