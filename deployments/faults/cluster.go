package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// nodes is how many servers the cluster has.
const nodes = 3

// storeOfARound is what a node may store for each round of the faults: little, so
// that it can be filled.
const storeOfARound = 448 << 20

// onSmallDisk is the node whose disk is small.
const onSmallDisk = nodes - 1

// roomBesides is what a disk has beyond what JetStream may store, so that the limit
// is reached before the disk is full.
const roomBesides = 192 << 20

// nowhere is what a node tells others of where it is: they know it by the links
// they are given, and must not find a way around them.
const nowhere = "127.0.0.1:9"

// node is one nats-server.
type node struct {
	name, client, route string // addresses
	store               string // its folder
	process             *process.Process
}

// cluster is three nats-servers, each of which reaches the two others over links.
type cluster struct {
	dir, program string
	store        int64 // bytes that each node may store
	nodes        [nodes]*node
	links        [nodes][nodes]*link // from, to; nil from a node to itself
}

// newCluster starts the nodes. The last one stores on the small disk, if there is one.
func newCluster(ctx context.Context, dir, program string, store int64, small *disk) (*cluster, error) {
	c := &cluster{dir: dir, program: program, store: store}
	for i := range c.nodes {
		client, err1 := freeAddress(ctx)
		route, err2 := freeAddress(ctx)
		if err := errors.Join(err1, err2); err != nil {
			return c, err
		}
		c.nodes[i] = &node{name: fmt.Sprint("node", i), client: client, route: route, store: filepath.Join(dir, fmt.Sprint("node", i))}
	}
	if small != nil {
		c.nodes[onSmallDisk].store = filepath.Join(small.path, c.nodes[onSmallDisk].name)
	}
	for i := range c.nodes {
		for j := range c.nodes {
			if i == j {
				continue
			}
			var err error
			if c.links[i][j], err = newLink(ctx, c.nodes[j].route); err != nil {
				return c, err
			}
		}
	}
	for i := range c.nodes {
		if err := errors.Join(os.WriteFile(c.config(i), c.conf(i), 0o600), c.start(i)); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *cluster) config(i int) string { return filepath.Join(c.dir, c.nodes[i].name+".conf") }

// conf is a node's configuration. Pings between nodes are frequent, so that a cut
// link is noticed in seconds.
func (c *cluster) conf(i int) []byte {
	n := c.nodes[i]
	var routes []string
	for j := range c.nodes {
		if j != i {
			routes = append(routes, fmt.Sprintf("%q", "nats-route://"+c.links[i][j].address()))
		}
	}
	return fmt.Appendf(nil, `server_name: %s
listen: %q
max_payload: 8MB
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
jetstream { store_dir: %q, max_file_store: %d, sync_interval: always }
cluster { name: faults, listen: %q, advertise: %q, no_advertise: true, ping_interval: "2s", routes: [%s] }
`, n.name, n.client, n.store, c.store, n.route, nowhere, strings.Join(routes, ", "))
}

func (c *cluster) start(i int) (err error) {
	c.nodes[i].process, err = process.Start(c.dir, c.nodes[i].name, c.program, nil, "-c", c.config(i))
	return err
}

// close ends the nodes at once: their folders are removed with them.
func (c *cluster) close() {
	for _, n := range c.nodes {
		if n != nil && n.process != nil {
			n.process.Kill()
		}
	}
	for i := range c.links {
		for _, l := range c.links[i] {
			if l != nil {
				l.close()
			}
		}
	}
}

// url names every node.
func (c *cluster) url() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "nats://"+n.client)
	}
	return strings.Join(all, ",")
}

// byName finds a node by the name that the servers call their leaders.
func (c *cluster) byName(name string) int {
	for i, n := range c.nodes {
		if n.name == name {
			return i
		}
	}
	return 0
}

// isolate cuts a node off from the two others, or joins them again.
func (c *cluster) isolate(i int, off bool) {
	for j := range c.nodes {
		if j == i {
			continue
		}
		for _, l := range []*link{c.links[i][j], c.links[j][i]} {
			if off {
				l.sever()
			} else {
				l.mend()
			}
		}
	}
}
