package layout

import "github.com/nats-io/nats.go/jetstream"

// codeUnavailable is the server's code for a cluster, or a stream of it, that has
// no leader at the moment.
const codeUnavailable jetstream.ErrorCode = 10008

// Leaderless says whether a cluster refused something because nobody leads it just
// now: after a start of all its nodes, or when a node was lost. It passes by itself
// within seconds.
func Leaderless(err error) bool { return RefusedWith(err, codeUnavailable) }
