// Package deadletters keeps the events that were given up on, each with its
// bytes and the story of why, until somebody looks.
//
// A letter is one message on the dead letter stream: the event's body byte for
// byte, and everything else in headers.
//
//	Popsee-Format           1; a letter of another format is left alone
//	Popsee-Survey           absent where the survey is unknown
//	Popsee-Event-Id         absent where the event could not be read
//	Popsee-Reason           one word, the filter of most questions
//	Popsee-Detail           one line
//	Popsee-Stack            of a panic
//	Popsee-Source-Stream    the event stream, and
//	Popsee-Source-Sequence  where the event stands in it
//	Popsee-Published        when it was published
//	Popsee-Attempts         how often it was tried, and
//	Popsee-First-Attempt    when first, and
//	Popsee-Last-Attempt     when last
//	Popsee-Body-Bytes       the body's length
//	Popsee-Body-Sha256      only on a letter by reference: its body was too large to copy
//	traceparent, tracestate passed through from the event
//
// Values that a header cannot carry as they are, such as a stack with its line
// breaks, are written as Go string literals in double quotes.
//
// # What is durable when
//
//	bury     Bury returns ─► the letter is stored ─► the source may be let go
//	redrive  the event is handed back and confirmed ─► the letter is removed
//
// In both, a crash or a lost answer between the two steps leaves the event in
// both places: a duplicate, never a loss. No letter carries a message id for
// the server to deduplicate by: an event that is buried, redriven and buried
// again within two minutes would be taken for a copy of the removed letter, and
// be nowhere.
package deadletters
