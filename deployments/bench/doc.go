// Command bench shows what failing endpoints cost the healthy ones, and what a
// million waiting events cost the service. It is the whole deployment on one
// machine, every part a process of its own:
//
//	publisher ──► nats-server ──► webhooks run ──► receiver
//	                        └──► plain ──────────┘
//
// The runner builds the real nats-server and the real service, starts them on
// 127.0.0.1 and in a temporary folder, and ends and removes all of it. plain is
// the consumer a team would write instead: a goroutine a message, a well-set
// transport, five seconds of time-out, NakWithDelay for what failed.
//
//	go run ./deployments/bench isolation               the isolation table, about 40 minutes
//	go run ./deployments/bench isolation --warm 2s --measure 3s --rounds 1 --only quiet,1+1
//	go run ./deployments/bench memory                  10,000 lanes, 1,000,000 waiting events
//	go run ./deployments/bench path                    the whole way, beside the least that delivers at all; --tls for HTTPS
//	go run ./deployments/bench hosts                   10,000 hosts, one event each in turn
//	go run ./deployments/bench startup                 ready with an empty store, and with 1,000,000 endpoints
//	go run ./deployments/bench replay                  1,000,000 stored events sent again, and live ones beside that
//	go run ./deployments/bench parking                 events parked, and delivered when their endpoints recover, against live ones
//	go run ./deployments/bench endpoints               one endpoint configured, and a million
//	go run ./deployments/bench replicas                1, 2 and 4 replicas, endpoints that take 50 ms
//	go run ./deployments/bench history                 ten thousand events in the stream before, and ten million
//	go run ./deployments/bench stream                  what one stream takes, with one copy and with three, without the service
//
// # What is measured
//
// Latency is from an event's publication to its first arrival at the receiver;
// both processes read one clock. Only events published after the warm-up count,
// in which the failing endpoints are found out. Every scenario runs directly
// behind a quiet one with as many surveys, and the two are compared; the figures
// are medians over the rounds, because a p99 on a shared machine is noisy.
//
// # What is where
//
//	scenario.go   which surveys there are, and how each behaves
//	event.go      what an event carries, so that the receiver can time it
//	publisher.go  plain.go  receiver.go   the processes
//	rig.go        one NATS, one receiver, one consumer, started and ended
//	isolation.go  backlog.go  memory.go  path.go  hosts.go  startup.go  loads.go  replay.go   what is run
//	parking.go  endpoints.go  history.go  replicas.go  stream.go   likewise
//	servers.go    NATS alone, one server or a cluster
//	turn.go       one backlog that the service delivers, for those
//	certificates.go                      the authority that receivers speaking HTTPS are checked against
//	verdict.go  asked.go                 what is asked of the numbers
//	measure.go    how a benchmark of rounds goes
//	table.go      how they are written down
//	sizing.go     what a load needs, computed; the tables of scaling.md are tested against it
//	sizing_held.go  of that, what was measured
package main
