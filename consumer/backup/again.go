package backup

import "encoding/json"

// standing is where the live consumer stood when it was copied, and with that what a
// restored one brings again. Its floor alone does not say so: events are settled out
// of order, and one above the floor that was settled is never brought again. A cluster
// does not tell what was pending, and has its consumer go back to the floor instead.
type standing struct {
	floor     uint64              // everything up to here was settled
	delivered uint64              // everything above was given to nobody yet
	pending   map[uint64]struct{} // of what is between, what was in somebody's hands
}

// brings says whether the restored consumer brings an event of the event stream. When
// there was no consumer there is none that would.
func (s *standing) brings(seq uint64) bool {
	if s == nil {
		return false
	}
	_, pending := s.pending[seq]
	return pending || seq > s.delivered
}

// standingOf reads it from how NATS writes a consumer into an archive.
func standingOf(consumer []byte) (*standing, error) {
	type place struct {
		Stream uint64 `json:"stream_seq"`
	}
	var of struct {
		State struct {
			AckFloor  place               `json:"ack_floor"`
			Delivered place               `json:"delivered"`
			Pending   map[uint64]struct{} `json:"pending"`
		} `json:"state"`
	}
	if err := json.Unmarshal(consumer, &of); err != nil {
		return nil, err
	}
	return &standing{of.State.AckFloor.Stream, of.State.Delivered.Stream, of.State.Pending}, nil
}
