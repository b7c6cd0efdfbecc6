// Package audit accounts for every sequence of a range of the event stream: where
// each event is now, or how it ended, and what proves it.
//
// # What counts as proof
//
//	delivered      the delivery log has an attempt that was answered 2xx
//	waiting-lane   a copy stands in the lanes stream
//	dead-letter    a letter stands in the dead letter stream
//	waiting-live   the live consumer has not settled it
//	owed           it stands in the event stream, and a promise in webhook_health covers it
//	forgotten      the delivery log says that it was erased because somebody asked for that
//	no-webhook     the delivery log says that its survey had none
//	letter-removed the delivery log says that it became a dead letter; that was redriven, purged or has expired
//	not-ours       another subject of the same stream
//	too-old        it was published before the delivery log begins: nothing could prove it
//	record-dropped it stands in the event stream, and the log itself counted records lost there
//	unproven       none of these, and it stands in the event stream: it can be replayed
//	lost           none of these, and it has left the event stream
//
// The first that holds is what an event counts as. An audit that finds events unproven
// or lost has failed; so has one that was asked for events that are too old, by its
// start or by an end before the log begins.
//
// # While the service runs
//
// Events move on while they are counted: from the event stream to a lane, from
// there into the log. So the places are read in that order, and one that is in
// none of them is looked for a second time, two seconds later, when the log has
// been written.
//
// # What it costs
//
// Two bytes of memory for each sequence of the range, [MostSequences] at most, a few
// messages on their way, and the health records of endpoints that are owed to. A
// million events take about ten seconds, and the process 45 MiB (measured on two
// shared cores; BenchmarkAudit). Where something is not found everything is read
// twice: a million of 100,000 surveys, one record missing, took the command 40 s
// beside other work, and 52 MiB.
package audit
