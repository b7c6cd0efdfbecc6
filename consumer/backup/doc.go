// Package backup copies all that a deployment has on NATS into a folder, and makes a
// deployment of such a folder, on the same kind of server or on another.
//
// Each stream and bucket becomes an archive as NATS itself writes and reads it
// (streams/NAME/stream.arc.s2 and backup.json, which the NATS command line restores
// too). manifest.json is written last and has the checksum of every other file: a
// folder without it is a backup that was broken off. Leases and the announcements of
// replicas are not copied; they mean nothing to another time.
//
// # The order
//
// NATS copies one stream at a time, while the service works. An event changes its
// place by being stored in the new one before it leaves the old one, so the old
// one is copied before the new one:
//
//	state ─► replays ─► event stream, with its consumers ─► lanes ─► health ─► lanes again ─► dead letters ─► delivery log ─► endpoints
//
// The mark comes before the live consumer, which must not be found behind it. So do the
// replays' records before their consumers: one that says of an event that it is settled
// must be older than the look at where it went. A replay that ends, or is paused or
// cancelled, after its record was copied goes on in the restored deployment, and one
// that was started after that is not there.
//
// What the live consumer had not settled is sent again; what it had settled is, in a
// later copy, where it went. Two ways lead back into the lanes: what was owed is brought
// from the event stream, and dead letters are redriven. So what has come into the lanes
// since they were copied, of events that were settled before, is added to the copy after
// the health records (late.go). Events are settled out of order, so the floor does not
// tell which those are: all are that a restored live consumer does not bring again
// (again.go). What a replay's consumer brings again is added all the same: its job may
// have begun after replays were copied, and then nobody takes from it. When a dead
// letter went, or an endpoint was disabled, while that was done, it is done once more
// (custody.go).
//
// # What a restored deployment does
//
// Nothing that was acknowledged to a publisher before the backup began is lost. What is sent
// again is what was delivered after the live consumer's place was copied, and what
// was in lanes and was delivered after they were; in the backup of a cluster, also what
// its consumer had settled above its floor. The service says it under the same ids.
//
// Sequences, times and revisions stay. NATS gives a restored stream a creation time of
// its own, so the event stream and the delivery log say in their metadata which
// stream they go on ([layout.Born]): mark, replays, dead letters and audits refer to
// that. The event stream is restored last: before it is there, no publisher can
// publish and no replica start.
package backup
