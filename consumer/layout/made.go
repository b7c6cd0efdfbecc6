package layout

import "github.com/nats-io/nats.go/jetstream"

// MadeEvents says whether an event stream was made by this service, which writes so
// into its description. Any other is its owner's: what stands in it is not ours to
// delete.
func (l Layout) MadeEvents(have jetstream.StreamConfig) bool {
	return have.Description == l.Events().Description
}
