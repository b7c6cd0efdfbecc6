package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// leaveWithin is how long a node may take to end by itself: in lame duck mode it
// sends its clients away one by one.
const leaveWithin = 60 * time.Second

// rollAll restarts every replica and every node, as an upgrade does: the first node
// leaves as a lame duck, the others at once.
func (s *suite) rollAll(ctx context.Context) error {
	if err := s.rollReplicas(ctx); err != nil {
		return err
	}
	for i := range s.cluster.nodes {
		how := syscall.SIGTERM
		if i == 0 {
			how = syscall.SIGUSR2
		}
		if err := s.rollNode(ctx, i, how); err != nil {
			return err
		}
	}
	return nil
}

// lameDuck has the node that leads the live consumer leave as for maintenance: it
// hands on what it leads and sends its clients away, one by one.
func (s *suite) lameDuck(ctx context.Context) error {
	i, err := s.leader(ctx)
	if err != nil {
		return err
	}
	return s.rollNode(ctx, i, syscall.SIGUSR2)
}

// rollNode ends a node and starts it again.
func (s *suite) rollNode(ctx context.Context, i int, how syscall.Signal) error {
	n := s.cluster.nodes[i]
	s.fault()
	n.process.Signal(how)
	select {
	case <-n.process.Done():
	case <-time.After(leaveWithin):
		return fmt.Errorf("%s did not end within %s", n.name, leaveWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
	s.ended(n.name, n.process, endedOK)
	if err := s.cluster.start(i); err != nil {
		return err
	}
	return poll(ctx, leaveWithin, func() error { return s.current(ctx) })
}

// rollReplicas ends one replica after the other as an orchestrator does, and
// starts another one before it goes on.
func (s *suite) rollReplicas(ctx context.Context) error { return s.roll(ctx, endedOK) }

// roll does it with replicas that may end with some exit codes.
func (s *suite) roll(ctx context.Context, codes ...int) error {
	for _, r := range s.replicas {
		if err := r.process.Stop(); err != nil {
			return err
		}
		s.ended(r.name, r.process, codes...)
		if err := r.start(ctx); err != nil {
			return err
		}
		if err := r.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// current says whether every node has what the others have, so that the next one
// may go.
func (s *suite) current(ctx context.Context) error {
	for _, name := range []string{names.Stream(), names.Lanes()} {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		stream, err := s.js.Stream(asking, name)
		cancel()
		if err != nil {
			return err
		}
		for _, p := range stream.CachedInfo().Cluster.Replicas {
			if !p.Current {
				return fmt.Errorf("%s is behind with %s", p.Name, name)
			}
		}
	}
	return nil
}
