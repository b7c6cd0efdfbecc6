// Package lanes keeps the events that cannot be delivered now, and delivers them
// when they can be.
//
// A lane is a subject of the lanes stream: one for each survey, in one of 64
// shards. An event is parked there by custody transfer: the copy is stored and
// confirmed, then its source is released. Every shard is owned by one replica at
// a time (package leases), which reads it through one headers-only consumer into
// an index of a few words an event, and fetches bodies when it tries them.
//
// # What a lane does
//
//	          parked                      2xx
//	(none) ───────────► draining ◄──────────────────┐
//	   ▲                │   │  endpoint fails        │
//	   │     empty      │   └──────────────────► probing ──┐
//	   └────────────────┘                           ▲      │ fails: wait 5 s,
//	                                                └──────┘ doubling to 5 min
//
// Draining: events are started in the order of their sources as soon as each is
// due. One that fails by itself, while its endpoint answers others, is due again
// by the retry schedule; its neighbours are not held up. Probing: the endpoint
// fails as a whole; one event at a time is tried, the oldest first, after two
// failures another one in turn, so that one poisonous event is not taken for a
// dead endpoint. The first 2xx makes everything due at once.
//
// An event whose schedule has ended becomes a dead letter. Time in which its
// endpoint failed as a whole does not count.
package lanes
