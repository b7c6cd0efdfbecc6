package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// reachWithin is how long a client may take to connect to another node.
const reachWithin = 10 * time.Second

// reachOthers has one replica at least, and the publisher, connected to another node
// than the one that is about to stand still or to be cut off. A client of such a node
// finds out by its pings, a minute later: if all replicas were there, there would be
// none that reaches the others, and nothing could be asked of them.
func (s *suite) reachOthers(ctx context.Context, i int) error {
	n := s.cluster.nodes[i]
	return poll(ctx, reachWithin, func() error {
		if s.nc.ConnectedServerName() == n.name {
			return errors.Join(fmt.Errorf("the publisher is connected to %s", n.name), s.nc.ForceReconnect())
		}
		if slices.ContainsFunc(s.replicas, func(r *replica) bool { return r.on() >= 0 && r.on() != i }) {
			return unless(s.nc.IsConnected(), "the publisher is not connected")
		}
		if s.replicas[0].on() == i {
			s.fault()
			s.replicas[0].links[i].sever()
			s.replicas[0].links[i].mend()
		}
		return fmt.Errorf("no replica is connected to another node than %s", n.name)
	})
}
