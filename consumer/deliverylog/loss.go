package deliverylog

import "time"

// Loss is what the log could not keep: so many records of events that stand
// somewhere within a run of the event stream.
type Loss struct {
	Records uint64    `json:"records"`
	Run     Run       `json:"sequences"` // the bounds: most events within may well be in the log
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

func (l *Loss) add(m Loss) {
	switch {
	case m.Records == 0:
		return
	case l.Records == 0:
		*l = m
		return
	}
	l.Records += m.Records
	l.Run.From = min(l.Run.From, m.Run.From)
	l.Run.To = max(l.Run.To, m.Run.To)
	if m.Since.Before(l.Since) {
		l.Since = m.Since
	}
	if m.Until.After(l.Until) {
		l.Until = m.Until
	}
}

// one is the loss of one record.
func one(seq uint64, at time.Time) Loss {
	return Loss{Records: 1, Run: Run{seq, seq}, Since: at, Until: at}
}
