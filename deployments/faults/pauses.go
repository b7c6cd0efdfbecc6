package main

import (
	"context"
	"syscall"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// How long something stands still or is cut off. A pause is longer than AckWait, so
// that what it had in hand is given to others before it goes on. A stall may end before
// that, in its midst, or as a replica's leases run out, after ten seconds as well.
const (
	leastStall = time.Second
	mostStall  = 12 * time.Second
	leastPause = 12 * time.Second
	mostPause  = 40 * time.Second
	cutFor     = 15 * time.Second
	leaseGood  = 10 * time.Second // how long a replica that cannot renew its leases may begin things
)

// pauseReplica stops a replica as a stalled machine does: when it goes on, what it
// had in hand has been delivered by others.
func (s *suite) pauseReplica(ctx context.Context) error {
	r := s.replicas[s.rng.IntN(len(s.replicas))]
	return s.during(ctx, s.between(leastPause, mostPause), func() { r.process.Signal(syscall.SIGSTOP) }, func() { r.process.Signal(syscall.SIGCONT) })
}

// pauseReplicas stalls one replica after the other.
func (s *suite) pauseReplicas(ctx context.Context) error {
	n := len(s.replicas)
	for i, which := range s.rng.Perm(n) {
		r := s.replicas[which]
		err := s.during(ctx, s.stall(i, n), func() { r.process.Signal(syscall.SIGSTOP) }, func() { r.process.Signal(syscall.SIGCONT) })
		if err != nil {
			return err
		}
	}
	return nil
}

// stall is how long one of several stalls lasts, each somewhere in a part of the range of
// its own: by chance alone one run in three would have none of about ten seconds.
func (s *suite) stall(i, of int) time.Duration {
	part := (mostStall - leastStall) / time.Duration(of)
	least := leastStall + time.Duration(i)*part
	return s.between(least, least+part)
}

// pauseLeader stops the node that leads the live consumer.
func pauseLeader(least, most time.Duration) func(*suite, context.Context) error {
	return func(s *suite, ctx context.Context) error {
		i, err := s.leader(ctx)
		if err != nil {
			return err
		}
		if err := s.reachOthers(ctx, i); err != nil {
			return err
		}
		n := s.cluster.nodes[i]
		return s.during(ctx, s.between(least, most), func() { n.process.Signal(syscall.SIGSTOP) }, func() { n.process.Signal(syscall.SIGCONT) })
	}
}

func (s *suite) cutReplica(ctx context.Context) error {
	r := s.replicas[s.rng.IntN(len(s.replicas))]
	return s.during(ctx, cutFor, func() { r.cutOff(true) }, func() { r.cutOff(false) })
}

// cutLeader cuts a node off. Should it lead the lanes as well, replicas on its side go
// on delivering from them while their leases are good.
func (s *suite) cutLeader(ctx context.Context) error {
	i, err := s.leader(ctx)
	if err != nil {
		return err
	}
	if err := s.reachOthers(ctx, i); err != nil {
		return err
	}
	began := time.Now()
	s.breaking.laneless = append(s.breaking.laneless, stretch{began, began.Add(leaseGood)})
	return s.during(ctx, cutFor, func() { s.cluster.isolate(i, true) }, func() { s.cluster.isolate(i, false) })
}

// during breaks something for a while, and always mends it.
func (s *suite) during(ctx context.Context, d time.Duration, breaks, mends func()) error {
	s.fault()
	breaks()
	defer mends()
	return process.Sleep(ctx, d)
}
