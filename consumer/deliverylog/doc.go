// Package deliverylog is the memory of what was tried: every attempt, and every
// event that was settled without one.
//
// # Off the hot path
//
// Telling the log something appends a line to a buffer in memory and never
// waits. Four times a second the buffers become messages, many lines each, and
// are published side by side. A crash loses what is not yet published. While the
// bus is away the buffers grow to a bound; what comes after that, what was
// published without being confirmed, and what waited for more than an hour, is
// dropped, counted, and told of by a dropped record with its sequences once the
// bus is back. Records that were not confirmed may be there all the same.
//
// # The format on the bus
//
//	subject            webhooks.attempts.<shard of the survey>, so that reading one survey reads a part in 64
//	Popsee-Format      1; a message of another format is left alone
//	Popsee-Encoding    s2: the body is one S2 block; absent: it is plain
//	Popsee-Replica     who wrote it
//	Popsee-Sequences   lowest-highest sequence of the event stream in it
//	Popsee-Times       earliest/latest time in it, RFC 3339
//	body               one JSON object a line
//
// A line's members, those that are empty left out:
//
//	kind               attempt, no-webhook, owed, dead, parked, forgotten or dropped
//	survey             absent on a dropped record, and where nobody could read it
//	at                 when the attempt began, or the first event was settled, or lost
//	seqs               sequences of the event stream, ascending: 1-5,7,9-12
//	event, number, revision, host, replay, test, status, verdict, reason, detail, snippet
//	took, dns, connect, tls, first_byte, reused, after
//	                   durations in nanoseconds
//	records, until     of a dropped record: how many, and when the last
package deliverylog
