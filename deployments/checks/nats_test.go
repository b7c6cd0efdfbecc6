package checks

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const clusterConf = "../nats/cluster.conf"

// node is a running nats-server.
type node struct {
	t    *testing.T
	args []string
	env  []string
	cmd  *exec.Cmd
	log  *log
	url  string
}

func TestTheClusterConfigurationIsOne(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), natsServer, "-t", "-c", clusterConf)
	cmd.Env = nodeEnv("nats-1", t.TempDir(), "nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nats-server -t: %v\n%s", err, out)
	}
	text, err := os.ReadFile(clusterConf)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n  sync_interval: always\n") {
		t.Error("what the cluster acknowledges is not on its disks")
	}
}

func nodeEnv(name, store string, routes ...string) []string {
	return []string{"NATS_NAME=" + name, "NATS_STORE=" + store, "NATS_ROUTES=[" + strings.Join(routes, ", ") + "]"}
}

// cluster runs nodes on the configuration that is shipped; the flags move their
// ports, for they share a machine here.
func cluster(t *testing.T, size int) (nodes []*node) {
	t.Helper()
	var routes []string
	for range size {
		routes = append(routes, "nats://"+freeAddress(t))
	}
	for i := range size {
		client := freeAddress(t)
		_, port, _ := net.SplitHostPort(client)
		_, monitor, _ := net.SplitHostPort(freeAddress(t))
		n := &node{
			t: t, url: "nats://" + client, log: &log{},
			args: []string{"-c", clusterConf, "-a", "127.0.0.1", "-p", port, "-m", monitor, "--cluster", routes[i], "--routes", strings.Join(routes, ",")},
			env:  nodeEnv(fmt.Sprint("nats-", i+1), t.TempDir(), routes...),
		}
		n.boot()
		nodes = append(nodes, n)
	}
	urls := make([]string, size)
	for i, n := range nodes {
		urls[i] = n.url
	}
	awaitLeader(t, strings.Join(urls, ","))
	return nodes
}

// alone runs a server that is no cluster.
func alone(t *testing.T) *node {
	t.Helper()
	client := freeAddress(t)
	_, port, _ := net.SplitHostPort(client)
	n := &node{t: t, url: "nats://" + client, log: &log{}, args: []string{"-js", "-sd", t.TempDir(), "-a", "127.0.0.1", "-p", port}}
	n.boot()
	awaitLeader(t, n.url)
	return n
}

// boot starts the node on its store. It is killed at the end of the test, if it lives.
func (n *node) boot() {
	n.t.Helper()
	n.t.Cleanup(func() {
		n.kill()
		if n.t.Failed() {
			n.t.Logf("the log of %s:\n%s", n.url, n.log)
		}
	})
	n.cmd = exec.CommandContext(context.WithoutCancel(n.t.Context()), natsServer, n.args...)
	n.cmd.Env, n.cmd.Stdout, n.cmd.Stderr = n.env, n.log, n.log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// kill ends the node as a lost machine does.
func (n *node) kill() {
	if n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
}

// awaitLeader waits until JetStream answers.
func awaitLeader(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if nc, err := nats.Connect(url); err == nil {
			js, err := nc.JetStream(nats.MaxWait(time.Second))
			if err == nil {
				_, err = js.AccountInfo()
			}
			nc.Close()
			if err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster has no leader")
		}
	}
}
