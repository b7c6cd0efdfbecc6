// Package lanes keeps the events that cannot be delivered now, and delivers them
// when they can be.
//
// A lane is a subject of the lanes stream: one for each survey, in one of 64
// shards. An event is parked there by custody transfer: the copy is stored and
// confirmed, then its source is released. Every shard is owned by one replica at
// a time (package leases), which reads headers alone into an index of a few words
// an event, and fetches bodies when it tries them.
//
// # What a lane does
//
//	          parked                        2xx
//	(none) ───────────► draining ◄────────────────────┐
//	   ▲                │   │  endpoint fails          │
//	   │     empty      │   └────────────────────► probing ──┐
//	   └────────────────┘                           ▲  │ ▲   │ fails: wait 5 s,
//	                                                │  │ └───┘ doubling to 5 min
//	                          changed, or enabled   │  │ 410, or five days of failing
//	                                                │  ▼
//	                                              disabled
//
// Draining: events are started in the order of their sources as soon as each is
// due. One that fails by itself, while its endpoint answers others, is due again
// by the retry schedule; its neighbours are not held up. Probing: the endpoint
// fails as a whole; one event at a time is tried, the oldest first, after two
// failures another one in turn, so that one poisonous event is not taken for a
// dead endpoint. The first 2xx makes everything due at once. Disabled: nothing is
// tried until somebody changes the endpoint.
//
// An event whose schedule has ended becomes a dead letter. Time in which its
// endpoint failed as a whole does not count. The lane of a removed endpoint
// becomes dead letters.
//
// # What a lane cannot hold
//
// A lane that is full promises its later events instead (owe.go): whoever meets one
// lets it go, and the owner brings it from the event stream when there is room
// (bring.go, reading.go). A disabled endpoint's lane promises everything that was
// not delivered since it began to fail; what another replica delivered before it
// heard of that, at most what it had in hand, may be sent once more when the endpoint
// is enabled. What is about to leave the event stream goes into its lane if that has room,
// and else becomes a dead letter (salvage.go): an endpoint may be disabled, fail, be
// switched off, or take less than comes, for longer than the event stream keeps its events.
//
// Promises are kept from the event stream as it is. When that was removed and made
// again, what was published before can be had from the lane alone: it is never counted
// as promised, and becomes a dead letter where its endpoint is disabled.
//
// # A lanes stream that steps back
//
// It may be lost and made anew, or restored from an older copy; then its sequences are
// used again, and an index is wrong. The feed compares the stream each time that it reads
// it anew, which it does whenever the consumer that it read with is gone; a copy is compared
// with its entry before it is sent or removed. Either way the shard is let go, and read anew by
// its next owner.
//
// # Where things are
//
//	park     the way in, many at a time
//	feed     what is stored there, as it comes, for the shards that were taken together
//	reader   one reading of it, until something has not come
//	lane     the index, and which event is tried when: pure
//	removal  what is removed when: pure
//	shard    the loop that owns the lanes of one shard
//	tend     what it does for one of them
//	try      one attempt, and what follows from its end
//	census   the same for a person who asks
package lanes
