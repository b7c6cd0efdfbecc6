// Package admit decides whether an attempt may begin now, so that no endpoint,
// and no host that a thousand endpoints share, can hold what the others need.
//
// Every endpoint has a budget of attempts in flight. It starts at 8, gains one
// for every full window of 2xx up to 64, and is halved by a failure. Over its
// budget a few events wait their turn; the rest are refused and wait in a lane
// instead. These rules refuse at once:
//
//	failing    the endpoint fails as a whole: its lane's owner tries it, nobody else
//	slow       an attempt at this endpoint is older than a second
//	suspect    32 attempts at this host were older than a second; one probe at a time goes out until one
//	           is answered in time, or later with a 2xx while fewer than 32 are as old; or attempts at it
//	           hold an eighth of all slots, and none was answered for 0.2 s
//	crowded    such old attempts hold a quarter of all slots, and this endpoint has no recent 2xx
//	full       the endpoint's budget and its short queue are used up
//	limited    the owner's own limit is reached; of attempts in flight, for longer than a moment
//
// Five failures in a row make an endpoint fail as a whole; a time-out counts as
// five, and so does a wish to be left alone (Retry-After). That is told to the
// caller once, by the ticket that saw it.
package admit
