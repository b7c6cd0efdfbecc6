package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

// The folder of the configurations that are shipped, and those of a cluster.
const (
	natsDir      = "../nats"
	clusterConf  = "cluster.conf"
	accountsConf = "cluster-accounts.conf"
)

// accountLimit is what the account may store on the clusters of the tests, all copies
// together.
const accountLimit = 192_000_000

// node is a running nats-server.
type node struct {
	t       *testing.T
	args    []string
	env     []string
	cmd     *exec.Cmd
	log     *log
	url     string // for clients
	monitor string // base URL
	route   string // address for other nodes; empty: it is no node of a cluster
}

// TestEveryNATSConfigurationIsOneTheServerTakes asks nats-server itself.
func TestEveryNATSConfigurationIsOneTheServerTakes(t *testing.T) {
	files, err := filepath.Glob(natsDir + "/*.conf")
	if err != nil || len(files) < 5 {
		t.Fatalf("there are %d configurations: %v", len(files), err)
	}
	for _, file := range files {
		cmd := exec.CommandContext(t.Context(), natsServer, "-t", "-c", file)
		cmd.Env = nodeEnv("nats-1", t.TempDir(), "nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nats-server -t -c %s: %v\n%s", file, err, out)
		}
	}
}

// TestAClusterWithAUserForEachPart has the operator provision, the publisher publish
// and the dispatcher deliver on three nodes, which take no strangers, neither as
// clients nor as nodes.
func TestAClusterWithAUserForEachPart(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, accountsConf, 3, as("operator")...)
	provision := exec.CommandContext(t.Context(), theBinary, "provision", "--replicas", "3", "--nats-url", urls(nodes))
	provision.Env = loginEnv("operator")
	if out, err := provision.CombinedOutput(); err != nil {
		t.Fatalf("the operator may not provision: %v\n%s", err, out)
	}
	s := start(t, options{nats: urls(nodes), env: loginEnv("dispatcher"), login: as("operator")})
	s.awaitReady()
	for _, name := range []string{events.Names{}.Stream(), events.Names{}.Lanes()} {
		stream, err := s.bus().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().Config; got.Replicas != 3 || got.MaxBytes <= 0 {
			t.Errorf("%s has %d copies of at most %d bytes", name, got.Replicas, got.MaxBytes)
		}
	}
	delivered := make(chan struct{}, 1)
	s.endpoint("s1", owner(t, func(http.ResponseWriter, *http.Request) { delivered <- struct{}{} }), true)
	publisher, err := nats.Connect(urls(nodes), as("publisher")...)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	if _, err := publisher.Request(events.Names{}.Subject("s1"), []byte(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"},"response":{"id":"r1"}}`), patience); err != nil {
		t.Fatal(err)
	}
	select {
	case <-delivered:
	case <-time.After(patience):
		t.Error("what the publisher published was not delivered")
	}
	if text := s.log.String(); strings.Contains(strings.ToLower(text), "permissions violation") {
		t.Errorf("the service tried what it may not do:\n%s", text)
	}
	wantNoStrangers(t, nodes)
}

// loginEnv is how a program of ours is a user of accounts.conf.
func loginEnv(user string) []string {
	return []string{"HOME=/", "NATS_USER=" + user, "NATS_PASSWORD=" + passwordOf(user), "NATS_INBOX_PREFIX=_INBOX_" + user}
}

// wantNoStrangers comes as a client without a name, and as a node with a password that
// is none.
func wantNoStrangers(t *testing.T, nodes []*node) {
	t.Helper()
	if nc, err := nats.Connect(urls(nodes)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a client that does not say who it is gets %v, want %v", err, nats.ErrAuthorization)
		if nc != nil {
			nc.Close()
		}
	}
	var routes []string
	for _, n := range nodes {
		routes = append(routes, routeTo(accountsConf, n.route, "none"))
	}
	stranger := newNode(t, accountsConf, "stranger", freeAddress(t), routes)
	stranger.boot()
	for _, n := range nodes {
		for deadline := time.Now().Add(patience); !refusedRoute.MatchString(n.log.String()); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not say that it refused a node", n.url)
			}
		}
		if got := n.ask("/routez"); strings.Contains(got, "stranger") || !strings.Contains(got, `"remote_name": "nats-`) {
			t.Errorf("%s is connected with other nodes than it should be: %s", n.url, got)
		}
	}
}

// refusedRoute is how nats-server says that it did not take another node.
var refusedRoute = regexp.MustCompile(`rid:\d+.*authentication error`)

// ask asks the node's monitoring.
func (n *node) ask(path string) string {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.monitor+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		n.t.Fatalf("%s of %s: %s, %v", path, n.monitor, resp.Status, err)
	}
	return string(body)
}

// nodeEnv is all that the configurations want to know.
func nodeEnv(name, store string, routes ...string) []string {
	env := []string{
		"NATS_NAME=" + name, "NATS_STORE=" + store, "NATS_ROUTES=[" + strings.Join(routes, ", ") + "]",
		"NATS_ROUTES_PASSWORD=" + passwordOf("routes"), fmt.Sprint("NATS_MAX_STORE=", accountLimit),
	}
	for _, user := range []string{"publisher", "platform", "dispatcher", "operator", "restorer", "observer", "sys"} {
		env = append(env, "NATS_"+strings.ToUpper(user)+"_PASSWORD="+passwordOf(user))
	}
	return env
}

func passwordOf(user string) string { return "password-of-" + user }

// as is how a user of accounts.conf connects.
func as(user string) []nats.Option {
	return []nats.Option{nats.UserInfo(user, passwordOf(user)), nats.CustomInboxPrefix("_INBOX_" + user)}
}

// cluster runs nodes on a configuration that is shipped. login is how a client
// connects that may ask JetStream for its account.
func cluster(t *testing.T, conf string, size int, login ...nats.Option) (nodes []*node) {
	t.Helper()
	var listen, routes []string
	for range size {
		address := freeAddress(t)
		listen = append(listen, address)
		routes = append(routes, routeTo(conf, address, passwordOf("routes")))
	}
	for i := range size {
		n := newNode(t, conf, fmt.Sprint("nats-", i+1), listen[i], routes)
		n.boot()
		nodes = append(nodes, n)
	}
	awaitLeader(t, urls(nodes), login...)
	return nodes
}

// routeTo is where a node finds another one.
func routeTo(conf, address, password string) string {
	if conf == accountsConf {
		address = "routes:" + password + "@" + address
	}
	return "nats://" + address
}

// urls are where clients find the nodes.
func urls(nodes []*node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.url)
	}
	return strings.Join(all, ",")
}

// newNode is a node that does not run yet, on a copy of the configuration in which
// nothing but the addresses is moved: the nodes share a machine here.
func newNode(t *testing.T, conf, name, route string, routes []string) *node {
	t.Helper()
	client, monitor := freeAddress(t), freeAddress(t)
	dir := t.TempDir()
	files, err := filepath.Glob(natsDir + "/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(file); base == conf || base == "node.conf" {
			moved += strings.Count(string(text), `: "0.0.0.0:`)
		}
		text = []byte(strings.NewReplacer("0.0.0.0:4222", client, "0.0.0.0:8222", monitor, "0.0.0.0:6222", route).Replace(string(text)))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if moved != 3 {
		t.Fatalf("%s and node.conf listen at %d addresses, want three: for clients, for monitoring and for routes", conf, moved)
	}
	return &node{
		t: t, url: "nats://" + client, monitor: "http://" + monitor, route: route, log: &log{},
		args: []string{"-c", filepath.Join(dir, conf)}, env: nodeEnv(name, t.TempDir(), routes...),
	}
}

// alone runs a server that is no cluster, as it is when nothing is configured: it syncs
// every two minutes, and its account has no limit.
func alone(t *testing.T) *node {
	t.Helper()
	client := freeAddress(t)
	_, port, _ := net.SplitHostPort(client)
	monitor := freeAddress(t)
	_, at, _ := net.SplitHostPort(monitor)
	n := &node{
		t: t, url: "nats://" + client, monitor: "http://" + monitor, log: &log{},
		args: []string{"-js", "-sd", t.TempDir(), "-a", "127.0.0.1", "-p", port, "-m", at},
	}
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
func awaitLeader(t *testing.T, url string, login ...nats.Option) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if nc, err := nats.Connect(url, login...); err == nil {
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
