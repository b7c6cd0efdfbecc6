package checks

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// TestANodeThatIsGoneForGoodIsReplaced does what the runbook says of one: sys takes it
// out, and a node with another name takes its place in every stream. A node that comes
// back under its old name with an empty disk needs nobody.
func TestANodeThatIsGoneForGoodIsReplaced(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		conf string
		user string // who provisions and looks
	}{
		"with a user for each part":   {accountsConf, "operator"},
		"on a network nobody reaches": {clusterConf, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var login []nats.Option
			env := []string{"HOME=/"}
			if test.user != "" {
				login, env = as(test.user), loginEnv(test.user)
			}
			nodes := cluster(t, test.conf, 3, login...)
			provision := exec.CommandContext(t.Context(), theBinary, "provision", "--replicas", "3", "--nats-url", urls(nodes))
			provision.Env = env
			if out, err := provision.CombinedOutput(); err != nil {
				t.Fatalf("provision: %v\n%s", err, out)
			}
			nodes[2].kill()
			left := nodes[:2]
			sys, err := nats.Connect(urls(left), nats.UserInfo("sys", passwordOf("sys")))
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close()
			wantServers(t, sys, "nats-1", "nats-2")
			remove(t, sys, "nats-3")

			var routes []string
			for _, n := range left {
				routes = append(routes, routeTo(test.conf, n.route, passwordOf("routes")))
			}
			newcomer := newNode(t, test.conf, "nats-4", freeAddress(t), routes)
			newcomer.boot()
			awaitCopies(t, urls(left), "nats-4", login...)

			nodes[1].kill()
			emptied := newNode(t, test.conf, "nats-2", nodes[1].route, append(routes[:1:1], routeTo(test.conf, newcomer.route, passwordOf("routes"))))
			emptied.boot()
			awaitCopies(t, nodes[0].url, "nats-2", login...)
		})
	}
}

// wantServers asks all servers who they are, as nats server list does.
func wantServers(t *testing.T, sys *nats.Conn, want ...string) {
	t.Helper()
	inbox := sys.NewRespInbox()
	answers, err := sys.SubscribeSync(inbox)
	if err == nil {
		err = sys.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range want {
		msg, err := answers.NextMsg(patience)
		if err != nil {
			t.Fatalf("sys hears from %q of the servers %q: %v", got, want, err)
		}
		var answer struct{ Server struct{ Name string } }
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.Server.Name)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("sys hears from the servers %q, want %q", got, want)
	}
}

// remove takes a node out of the cluster, as nats server cluster peer-remove does. Until
// somebody leads it nobody answers.
func remove(t *testing.T, sys *nats.Conn, name string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		msg, err := sys.Request("$JS.API.SERVER.REMOVE", fmt.Appendf(nil, `{"peer":%q}`, name), 2*time.Second)
		if err == nil && strings.Contains(string(msg.Data), `"success":true`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sys may not take node %s out: %v", name, err)
		}
	}
}

// awaitCopies waits until a node has a whole copy of every stream of ours.
func awaitCopies(t *testing.T, url, node string, login ...nats.Option) {
	t.Helper()
	nc, err := nats.Connect(url, login...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := events.Names{}
	for _, name := range []string{names.Stream(), names.Lanes(), names.DeadLetters(), names.Attempts(), "KV_" + names.Endpoints(), "KV_" + names.State()} {
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			stream, err := js.Stream(t.Context(), name)
			if err == nil && copied(stream.CachedInfo().Cluster, node) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no whole copy of %s: %v", node, name, err)
			}
		}
	}
}

func copied(c *jetstream.ClusterInfo, node string) bool {
	return c != nil && len(c.Replicas) == 2 && (c.Leader == node ||
		slices.ContainsFunc(c.Replicas, func(p *jetstream.PeerInfo) bool { return p.Name == node && p.Current && !p.Offline }))
}
