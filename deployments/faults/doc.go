// Command faults breaks a real deployment in every way there is, and finds a place
// for every event afterwards. Everything runs on one machine: three nats-servers
// that replicate every stream and sync every write, three processes of the service,
// each a process of its own, and in this one whoever publishes, whoever receives,
// and the wires between them.
//
//	publisher ──► node0 ═══ node1 ═══ node2      ═══ links that can be cut
//	                ║          ║        ║
//	            replica0   replica1  replica2 ──► receiver (TLS)
//
//	go run ./deployments/faults                          about ten minutes, twelve at most
//	go run ./deployments/faults --only 'kill -9' --seed 7
//	go run ./deployments/faults --kills 500 --rounds 10 --limit 3h
//
// It starts every program itself, ends those and no others, and removes its folder.
// The faults of a full disk need a small one: mounted by root, or by everybody in a user
// namespace. Where neither is allowed, as in some containers, their rows say NOT RUN, and
// the suite fails unless it is told by --may-skip-disk that it may do without them.
// Should it be killed, the kernel ends what it started.
//
// # What is asked
//
// Three in ten endpoints fail at any moment: they answer 500, 503 or 410, or not at
// all; most of them recover with the next fault, so that lanes drain while things
// break. After each fault every event whose publication was acknowledged must have
// a place:
//
//	delivered    its own endpoint was sent the bytes that were published, on its host and
//	             well signed, and gave a 2xx
//	waiting      it stands in its survey's lane
//	owed         it stands in the event stream, and the record of its endpoint promises it
//	dead         it is a dead letter that may be: see below
//	no webhook   its survey has none, and the live consumer has let it go
//	live         it is above the live consumer's floor; it may be so for a minute at most
//	taken        the fault itself destroyed it: see below
//
// Anything else is lost, and there may be none. In the end every endpoint works, and
// all must be delivered within a minute.
//
// A request that comes to an endpoint and is not as "delivered" says is wrong, whatever
// the endpoint answers, and nothing is delivered by it.
//
// A dead letter may be, during the faults and in the end, where an endpoint that answers
// 410 was disabled and a purge had taken the event from the event stream, so that only
// its lane had it. Any other is wrong, wherever else its event is: no event becomes as
// old as what is given up on for its age, and no endpoint is removed.
//
// A fault may make as many duplicates as it exposed events: requests that had no
// answer in that moment, and 2xx given in the 300 ms before, whose acknowledgement
// may still have been on its way; a second before, where a node is broken. There it
// is besides every 2xx given while nobody led the live consumer, because their
// acknowledgements were kept by nobody; who leads is asked ten times a second. Of
// what waited in lanes it is also what was answered while nobody led those, or they
// could not be written. A full disk keeps nothing until its server is started again. A
// fault that takes the server's own memory, which no honest fault does, may repeat more:
// all above the mark when the consumer is deleted. What a fault has not used up lapses,
// because all else is settled when a check ends: later ones may make besides what then
// stood in lanes although it had been delivered, which is counted. Over a storm of kills
// there may be ten a kill, on average, however many are exposed.
//
// A stop that was asked for makes none, also not of what lanes had in hand: what stands
// there although it was delivered must be gone 15 s after all is settled, because the next
// owner may try it until then. And the process ends with exit code 0; where
// its disk was full it may say with another one that something could not be finished.
//
// New events are delivered 15 s after NATS acknowledges events again and somebody leads
// the live consumer, who is elected apart. From the fault on there is never a longer time
// in which that is so and nothing is delivered to healthy endpoints: the fault may last,
// but a majority of nodes and one replica that reaches it are always left, or NATS
// acknowledges nothing. A second without an acknowledgement ends such a time. Within a minute everything before is
// delivered or has its place, and no lane holds for longer what its endpoint would take;
// once, when half of the flapping endpoints begin to work, their lanes are waited for.
//
// While NATS is there, 300 events a second and more are acknowledged, what the publisher
// had to skip counted as missing.
//
// A purge destroys what was not settled. Those events are not counted as lost, if
// nobody has them; the service must say that they are gone.
//
// # What is where
//
//	ledger       what was published, acknowledged, and delivered
//	surveys      which endpoints there are, and how each behaves
//	publisher  receiver  replica  cluster  link  disk   the parts
//	deployment   all of them together
//	whereabouts  where on the bus an event stands
//	judge  gap  bounds  lanes  ended   what became of each event, how long nothing was
//	             delivered, how many may come twice, what a lane holds for too long,
//	             and how a process may end: pure
//	leaders      when nobody led
//	check        what is asked after a fault
//	breaking     what is known of a fault while it lasts
//	faults  pauses  reach  destroy  rolling   the faults
//	suite  table  limit   one run, how it is written down, and that it takes too long
package main
