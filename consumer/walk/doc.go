// Package walk reads a stretch of a stream once, from its first message to the
// last one there was when the walk began, or on and on, and holds one page of it
// in memory.
//
// It is for what is asked now and then: each walk has a consumer of its own on
// the server, forgotten when the walk ends. A walk whose connection was lost goes
// on behind the last message it gave: what was on its way is asked for again.
//
// Who may make no consumer there, as the read-only user of the NATS configuration we
// ship, reads the same by asking for the messages themselves.
package walk
