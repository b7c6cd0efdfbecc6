package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// ackWait is how long an event that a killed replica had in hand waits for
// another one.
const ackWait = 10 * time.Second

// readyWithin is how long a replica may take to start.
const readyWithin = 30 * time.Second

// replica is one process of the service, and the wires it reaches NATS by.
type replica struct {
	name, dir, program string
	args               []string // without where NATS and the admin listener are
	nats               []string // the flags for NATS
	links              []*link
	admin              string

	mu      sync.Mutex // guards process
	process *process.Process
}

// newReplica prepares one that reaches every node of a cluster by a link of its
// own.
func newReplica(ctx context.Context, c *cluster, name, program string, args []string) (*replica, error) {
	r := &replica{name: name, dir: c.dir, program: program, args: args}
	var urls []string
	for _, n := range c.nodes {
		l, err := newLink(ctx, n.client)
		if err != nil {
			return r, err
		}
		r.links = append(r.links, l)
		urls = append(urls, "nats://"+l.address())
	}
	r.nats = []string{"--nats-url", strings.Join(urls, ",")}
	return r, nil
}

// start starts the process and does not wait for it.
func (r *replica) start(ctx context.Context) error {
	admin, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"run", "--admin-listen", admin}, r.nats...)
	p, err := process.Start(r.dir, r.name, r.program, nil, append(args, r.args...)...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.admin = p, admin
	return nil
}

// ready waits until it delivers.
func (r *replica) ready(ctx context.Context) error {
	err := process.Until(ctx, readyWithin, func() error { return r.isReady(ctx) })
	if err != nil {
		return fmt.Errorf("%s is not ready: %w: %s", r.name, err, r.process.LastWords())
	}
	return nil
}

func (r *replica) isReady(ctx context.Context) error {
	select {
	case <-r.process.Done():
		return errors.New("it has ended")
	default:
	}
	_, err := process.Get(ctx, "http://"+r.admin+"/readyz")
	return err
}

// kill ends it as a crash does, and starts another one in its place.
func (r *replica) kill(ctx context.Context) error {
	r.process.Kill()
	return r.start(ctx)
}

func (r *replica) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		r.process.Kill()
	}
	for _, l := range r.links {
		l.close()
	}
}

// on is the node that it is connected to; -1: to none.
func (r *replica) on() int { return slices.IndexFunc(r.links, (*link).carries) }

// cutOff takes NATS away from it, or gives it back.
func (r *replica) cutOff(off bool) {
	for _, l := range r.links {
		if off {
			l.sever()
		} else {
			l.mend()
		}
	}
}
