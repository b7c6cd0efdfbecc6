package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// fault is one way to break a deployment.
type fault struct {
	name  string
	times int    // how often it breaks something
	exact bool   // it must not make a single duplicate
	says  string // what a replica must have logged
	each  int    // duplicates that it may cost each time, on average over a storm; zero: as many as can be explained

	disk bool // it needs a disk that can be full

	headless bool // nodes are broken: while nobody leads the live consumer, nobody keeps acknowledgements
	drains   bool // it breaks nothing: what waits in lanes for endpoints that work again must be delivered

	run func(s *suite, ctx context.Context) error
}

// storm is how many replicas are killed between two checks.
const storm = 17

// killCosts is well above what a kill has cost in any storm on record: 101 duplicates in
// 16 kills, of which a part stood in lanes before, 81 in others, and mostly three a kill.
// What a kill exposes is much more, about a hundred events: were all of that delivered
// twice, nobody would be wrong, and much would have become worse.
const killCosts = 10

// clustered are the faults of a cluster.
func clustered(kills int) []fault {
	all := []fault{{name: "SIGTERM, rolling over 3 replicas", times: 3, exact: true, run: (*suite).rollReplicas}}
	for n := kills; n > 0; n -= storm {
		all = append(all, fault{name: "kill -9 replicas", times: min(n, storm), each: killCosts, run: killReplicas(min(n, storm))})
	}
	return append(
		all,
		// Behind a storm, in which they have failed for less than half a minute: the wait for
		// the next probe grows with the time that an endpoint has failed.
		fault{name: "half of the flapping endpoints work again", drains: true, run: func(*suite, context.Context) error { return nil }},
		fault{name: "kill -9 a node", headless: true, times: 1, run: killNode(false)},
		fault{name: "kill -9 the consumer's leader", headless: true, times: 1, run: killNode(true)},
		fault{name: "kill -9 all three nodes", headless: true, times: 3, run: (*suite).killNodes},
		fault{name: "SIGSTOP a replica for 12 to 40 s", times: 1, run: (*suite).pauseReplica},
		fault{name: "SIGSTOP all replicas for 1 to 12 s", times: 3, run: (*suite).pauseReplicas},
		fault{name: "SIGSTOP the consumer's leader for 12 to 40 s", headless: true, times: 1, run: pauseLeader(leastPause, mostPause)},
		fault{name: "SIGSTOP the consumer's leader for 1 to 12 s", headless: true, times: 1, run: pauseLeader(leastStall, mostStall)},
		fault{name: "the consumer's leader leaves as a lame duck", headless: true, times: 1, run: (*suite).lameDuck},
		fault{name: "a replica cut off from NATS for 15 s", times: 1, run: (*suite).cutReplica},
		fault{name: "the consumer's leader cut off from the other nodes for 15 s", headless: true, times: 1, run: (*suite).cutLeader},
		fault{name: "the lanes are full for 10 s", times: 1, says: "the lanes stream is full", run: (*suite).fillLanes},
		fault{name: "the store is full for 5 s", headless: true, times: 1, run: (*suite).fillStore},
		fault{name: "a node's disk is full", headless: true, disk: true, times: 1, run: (*suite).fillNodesDisk},
		fault{name: "the live consumer deleted", times: 1, says: "the live consumer was missing", run: (*suite).deleteConsumer},
		fault{name: "the bucket of the mark deleted and made anew", times: 1, run: remakeBucket(names.State())},
		fault{name: "the bucket of leases deleted and made anew", times: 1, run: remakeBucket(names.Leases())},
		fault{name: "the bucket of replicas deleted and made anew", times: 1, run: remakeBucket(names.Replicas())},
		fault{name: "the bucket of health deleted and made anew", times: 1, run: remakeBucket(names.Health())},
		fault{name: "the bucket of endpoints deleted and made anew", times: 1, run: remakeBucket(names.Endpoints())},
		fault{name: "the bucket of replays deleted and made anew", times: 1, run: remakeBucket(names.Replays())},
		fault{name: "the event stream purged", times: 1, says: "left the event stream before", run: (*suite).purge},
		fault{name: "rolling restart of everything", headless: true, times: 6, run: (*suite).rollAll},
	)
}

// embedded are the faults of a single machine.
func embedded() []fault {
	var all []fault
	for range 3 {
		all = append(all, fault{name: "kill -9 the service with its NATS", times: 1, run: killReplicas(1)})
	}
	return append(all, fault{name: "the disk is full", headless: true, disk: true, times: 1, run: (*suite).fillDisk})
}

// killReplicas kills one replica after the other, about one a second, and each is
// started again at once.
func killReplicas(times int) func(*suite, context.Context) error {
	return func(s *suite, ctx context.Context) error {
		for range times {
			if err := process.Sleep(ctx, s.between(500*time.Millisecond, 1100*time.Millisecond)); err != nil {
				return err
			}
			s.fault()
			if err := s.replicas[s.rng.IntN(len(s.replicas))].kill(ctx); err != nil {
				return err
			}
		}
		return s.ready(ctx)
	}
}

// between is a time by chance.
func (s *suite) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// killNode kills a node for some seconds.
func killNode(leader bool) func(*suite, context.Context) error {
	return func(s *suite, ctx context.Context) error {
		i, err := s.leader(ctx)
		if err != nil {
			return err
		}
		if !leader {
			i = (i + 1 + s.rng.IntN(nodes-1)) % nodes
		}
		s.fault()
		s.cluster.nodes[i].process.Kill()
		if err := process.Sleep(ctx, s.between(2*time.Second, 5*time.Second)); err != nil {
			return err
		}
		return s.cluster.start(i)
	}
}

// killNodes kills all nodes within a moment.
func (s *suite) killNodes(ctx context.Context) error {
	s.fault()
	for _, n := range s.cluster.nodes {
		n.process.Signal(syscall.SIGKILL)
	}
	for _, n := range s.cluster.nodes {
		<-n.process.Done()
	}
	if err := process.Sleep(ctx, time.Second); err != nil {
		return err
	}
	for i := range s.cluster.nodes {
		if err := s.cluster.start(i); err != nil {
			return err
		}
	}
	return nil
}

// leader is the node that leads the live consumer.
func (s *suite) leader(ctx context.Context) (int, error) {
	name := ""
	err := s.insist(ctx, func(ctx context.Context) error {
		cons, err := s.js.Consumer(ctx, names.Stream(), names.Consumer())
		if err == nil {
			name = cons.CachedInfo().Cluster.Leader
		}
		return err
	})
	return s.cluster.byName(name), err
}

// insist asks NATS until it answers: between two faults it may still be electing
// somebody.
func (s *suite) insist(ctx context.Context, ask func(ctx context.Context) error) error {
	return poll(ctx, quorumWithin, func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return ask(ctx)
	})
}

// logs is how long every replica's log is now.
func (s *suite) logs() map[string]int64 {
	sizes := map[string]int64{}
	for _, r := range s.replicas {
		if info, err := os.Stat(r.process.Log()); err == nil {
			sizes[r.name] = info.Size()
		}
	}
	return sizes
}

// said is what the replicas have logged since.
func (s *suite) said(since map[string]int64) string {
	var text strings.Builder
	for _, r := range s.replicas {
		if b, err := os.ReadFile(r.process.Log()); err == nil {
			text.Write(b[min(since[r.name], int64(len(b))):])
		}
	}
	return text.String()
}
