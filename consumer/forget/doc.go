// Package forget erases what the service holds of a person, or of a survey: from
// the event stream where that is ours, from lanes, dead letters and the delivery
// log.
//
// # In which order
//
// That it was erased is noted in the delivery log first, by sequence alone: an
// event that is nowhere would else count as lost (package audit). Then it goes from
// where it could come back from: the event stream, of which owed events are brought
// and replays are read; then from lanes, dead letters and the log. Messages are
// overwritten on disk, not just removed; but for the jobs of replays of one response,
// which hold its id and stand in a bucket.
//
// What is published while it is erased is not looked at. Copies of an event stream that
// was removed are erased whatever their sequence, and without that note: there it would
// be another event's.
//
// # Beside a running service
//
// A lane's owner finds its copy gone when it would send it, and goes on with the
// next. What a replica has in hand at that moment is in its memory: it may still be
// sent, and its end may still be written, parked or buried. So everything is looked
// through again after a while, until nothing is found any more and none of it is in
// hand. Until then what is in hand stays in the event stream, for the server counts as
// settled what is erased there. What still is in the end, such as a replayed event that
// waits for a busy endpoint, is erased there too, and the receipt says whose hands have it.
//
// # What is beyond it
//
// An event stream that somebody else owns: its owner has to delete the event there,
// and before, for what stands there may be brought, sent and parked again. What the
// service itself has removed in its ordinary course, such as a delivered event's copy
// from its lane: no stream has it any more, but NATS overwrites its bytes on disk only
// when it compacts the file they are in. Backups, mirrors, the logs of processes,
// which name response ids, and what receivers have been sent. Messages of the delivery
// log that were written anew are kept for seven days from then on.
package forget
