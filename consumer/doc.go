// Package consumer delivers what stands on the event stream.
//
// # The promise
//
// A message is acknowledged only after its endpoint answered 2xx, or when its
// survey has no webhook and nothing is owed. Anything else leaves the stream's
// consumer only when it is durably elsewhere. So a crash at any moment makes a
// duplicate at worst, never a loss.
//
// # The way of one event
//
//	pull ─► decode ─► look up ─► admit ─► attempt ─► decide ─► settle
//	slots   one pass   memory     gate     POST      pure      ack, park, bury, leave, return
//	                                          ▲
//	lanes ────────────────────────────────────┤ from its shard's owner
//	replays ──────────────────────────────────┘ stored events again, when live ones leave room
//
// The fetch loop (fetch.go) never pulls more messages than there are free slots
// (slots.go), so none waits in the process with its AckWait running. Every
// message in hand stands in the in-flight map (inflight.go) under its stream
// sequence; the server delivering it again finds the running attempt, which
// takes over the newer delivery, or finds that it was settled moments ago and
// is acknowledged again. Neither reaches the endpoint twice.
//
// A replay's events take the same way (replaying.go), with slots and an in-flight
// map of their own (way.go), and with the patience to wait for a busy endpoint.
//
// What the gate refuses, and what fails, is parked in its survey's lane: stored
// and confirmed there before its source is released.
//
// # Where things are
//
//	layout      what must exist on the bus
//	provision   creates and verifies it
//	mark        our own record of how far the consumer has come
//	admit       which attempt may begin now
//	lanes       the events that cannot be delivered now
//	leases      which replica owns which shard of the lanes
//	health      which endpoints fail, known to every replica
//	replay      jobs that send stored events again
//	deadletters what was given up on
//	deliverylog every attempt and settlement
//	audit       what became of every event
//	forget      erases what is held of a person
//	walk        reads a stream once, for a person's question
//
// Between two looks at the mark, a message at or below its bound proves that the
// consumer's state was lost, and is not handled.
package consumer
