package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// TestTheStartWaitsForAClusterToHaveALeader starts the service when one of three
// nodes is there, and the others when it has said that it waits.
func TestTheStartWaitsForAClusterToHaveALeader(t *testing.T) {
	t.Parallel() // it mostly waits
	nodes := clusterNodes(t, 3)
	first := started(t, nodes[0])
	s := testSettings(t.TempDir())
	s.NATS.URL, s.Keys.Ring = first.ClientURL(), newRing(t)
	var log lockedBuffer
	var v *service
	opened := make(chan error, 1)
	go func() {
		var err error
		v, err = openService(t.Context(), s, noEnv, zerolog.New(&log))
		opened <- err
	}()
	within(t, func() string {
		if strings.Contains(log.String(), "may have no leader yet") {
			return ""
		}
		return "the service does not say that it waits"
	})
	for _, o := range nodes[1:] {
		started(t, o)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	defer running(t, v)()
	within(t, func() string {
		if err := v.isReady(); err != nil {
			return "not ready: " + err.Error()
		}
		return ""
	})
}

// clusterNodes are the options of a cluster's nodes.
func clusterNodes(t *testing.T, n int) (nodes []*server.Options) {
	t.Helper()
	var routes []*url.URL
	for i := range n {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
		nodes = append(nodes, &server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port},
		})
	}
	for _, o := range nodes {
		o.Routes = routes
	}
	return nodes
}
