package consumer

import (
	"github.com/popsee/webhooks/delivery"
)

// action is what becomes of a message once its attempt has ended.
type action uint8

const (
	actAck    action = iota // nothing more is owed
	actPark                 // it waits in its survey's lane
	actOwe                  // it is promised to be brought into that lane from the event stream
	actLeave                // unacknowledged: the server delivers it again after AckWait
	actReturn               // given back at once, so that another replica takes it now
	actBury                 // it can never be delivered: it becomes a dead letter
)

// decide is the only place that chooses what becomes of a message. stopping
// says that this replica is going away.
func decide(v delivery.Verdict, stopping bool) action {
	switch v {
	case delivery.Delivered:
		return actAck
	case delivery.Dead:
		return actBury
	case delivery.Again, delivery.Gone:
		return actPark
	case delivery.Ours:
		if stopping {
			return actReturn
		}
		return actLeave
	default:
		return actLeave
	}
}
