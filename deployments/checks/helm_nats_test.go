package checks

import (
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// pods renders what the chart runs.
func pods(t *testing.T, values valuesOf) (replica, job corev1.PodSpec) {
	t.Helper()
	got := render(t, values)
	return got["apps/v1 Deployment"].(*appsv1.Deployment).Spec.Template.Spec, got["batch/v1 Job"].(*batchv1.Job).Spec.Template.Spec
}

// identity is who a pod is on NATS, and from which Secret it has each part of that.
func identity(pod corev1.PodSpec) map[string]string {
	found := map[string]string{}
	for _, e := range pod.Containers[0].Env {
		switch {
		case e.Name == "NATS_CREDS":
			found[e.Name] = e.Value
		case strings.HasPrefix(e.Name, "NATS_") && e.ValueFrom != nil:
			found[e.Name] = e.ValueFrom.SecretKeyRef.Name + " " + e.ValueFrom.SecretKeyRef.Key
		}
	}
	for _, v := range pod.Volumes {
		if v.Name == "nats" {
			found["file"] = v.Secret.SecretName
		}
	}
	return found
}

func TestTheChartsJobAndReplicasAreWhoTheyShouldBe(t *testing.T) {
	user := func(secret string) map[string]string {
		return map[string]string{"NATS_USER": secret + " user", "NATS_PASSWORD": secret + " password", "NATS_INBOX_PREFIX": secret + " inbox-prefix"}
	}
	creds := func(secret string) map[string]string {
		return map[string]string{"NATS_CREDS": "/etc/webhooks/nats/user.creds", "NATS_INBOX_PREFIX": secret + " inbox-prefix", "file": secret}
	}
	for name, test := range map[string]struct {
		nats         valuesOf
		replica, job map[string]string
	}{
		"nobody":                              {valuesOf{}, nil, nil},
		"credentials for both":                {valuesOf{"credsSecret": "a"}, creds("a"), creds("a")},
		"a user for both":                     {valuesOf{"userSecret": "a"}, user("a"), user("a")},
		"credentials for each":                {valuesOf{"credsSecret": "a", "provisionCredsSecret": "b"}, creds("a"), creds("b")},
		"a user for each":                     {valuesOf{"userSecret": "a", "provisionUserSecret": "b"}, user("a"), user("b")},
		"credentials, and a user for the job": {valuesOf{"credsSecret": "a", "provisionUserSecret": "b"}, creds("a"), user("b")},
		"a user, and credentials for the job": {valuesOf{"userSecret": "a", "provisionCredsSecret": "b"}, user("a"), creds("b")},
		"nobody, and credentials for the job": {valuesOf{"provisionCredsSecret": "b"}, nil, creds("b")},
	} {
		replica, job := pods(t, valuesOf{"nats": test.nats})
		if got := identity(replica); !maps.Equal(got, test.replica) {
			t.Errorf("%s: a replica is %v, want %v", name, got, test.replica)
		}
		if got := identity(job); !maps.Equal(got, test.job) {
			t.Errorf("%s: the job is %v, want %v", name, got, test.job)
		}
	}
}

func TestTheChartsNetworkPolicyLetsNATSAndItsMonitoringThrough(t *testing.T) {
	for name, test := range map[string]struct {
		nats valuesOf
		want []int
	}{
		"no monitor":                    {valuesOf{}, []int{4222}},
		"one port for all nodes":        {valuesOf{"monitors": []any{"http://nats-0:8222", "http://nats-1:8222/"}}, []int{4222, 8222}},
		"the ports that schemes have":   {valuesOf{"monitors": []any{"http://nats-0", "https://nats-1"}}, []int{4222, 80, 443}},
		"an address and a password":     {valuesOf{"monitors": []any{"https://looks:in@[fd00::1]:8223"}}, []int{4222, 8223}},
		"a port that was opened before": {valuesOf{"ports": []any{4222.0, 8222.0}, "monitors": []any{"http://nats-0:8222"}}, []int{4222, 8222}},
	} {
		policy := render(t, valuesOf{"nats": test.nats})["networking.k8s.io/v1 NetworkPolicy"].(*networkingv1.NetworkPolicy)
		var got []int
		for _, p := range policy.Spec.Egress[1].Ports { // after names
			got = append(got, p.Port.IntValue())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: NATS is let through on %v, want %v", name, got, test.want)
		}
	}
}

// TestTheChartRunsOnTheAccountsThatAreShipped starts NATS with them, and the job and
// a replica with what the chart gives to theirs.
func TestTheChartRunsOnTheAccountsThatAreShipped(t *testing.T) {
	t.Parallel()
	server, monitor := guarded(t)
	secrets := map[string]map[string]string{
		"nats-dispatcher": {"user": "dispatcher", "password": passwordOf("dispatcher"), "inbox-prefix": "_INBOX_dispatcher"},
		"nats-operator":   {"user": "operator", "password": passwordOf("operator"), "inbox-prefix": "_INBOX_operator"},
		"webhooks-admin":  {"token": "0123456789abcdef"},
	}
	user := valuesOf{"url": server.url, "userSecret": "nats-dispatcher", "monitors": []any{monitor}}
	_, job := pods(t, valuesOf{"nats": user})
	if out, err := contained(t, job, secrets).CombinedOutput(); err == nil {
		t.Errorf("the dispatcher may make streams:\n%s", out)
	}
	user["provisionUserSecret"] = "nats-operator"
	replica, job := pods(t, valuesOf{"nats": user})
	if out, err := contained(t, job, secrets).CombinedOutput(); err != nil || !strings.Contains(string(out), "RESPONSES") {
		t.Fatalf("the job: %v\n%s", err, out)
	}

	s := &service{t: t, admin: freeAddress(t), log: &log{}}
	s.cmd = contained(t, replica, secrets, "--admin-listen", s.admin)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	for deadline := time.Now().Add(patience); !ready(t, s.admin); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the replica is not ready after %s:\n%s", patience, s.log)
		}
	}
	if got := s.log.String(); strings.Contains(got, "NATS syncs") || strings.Contains(got, "sync_interval") {
		t.Errorf("the replica cannot see, at %s, that NATS syncs every write:\n%s", monitor, got)
	}
}

// guarded runs a server on the configuration that is shipped, accounts and all, but
// for its store; flags move its ports.
func guarded(t *testing.T) (n *node, monitor string) {
	t.Helper()
	client, monitor := freeAddress(t), freeAddress(t)
	_, port, _ := net.SplitHostPort(client)
	_, monitorPort, _ := net.SplitHostPort(monitor)
	folder := t.TempDir()
	for _, name := range []string{"nats.conf", "accounts.conf"} {
		text, err := os.ReadFile(filepath.Join("..", "nats", name))
		if err == nil {
			moved := strings.Replace(string(text), "store_dir: /data/jetstream", "store_dir: "+strconv.Quote(filepath.Join(folder, "store")), 1)
			err = os.WriteFile(filepath.Join(folder, name), []byte(moved), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n = &node{
		t: t, url: "nats://" + client, log: &log{},
		args: []string{"-c", filepath.Join(folder, "nats.conf"), "-a", "127.0.0.1", "-p", port, "-m", monitorPort},
	}
	n.env = nodeEnv("nats", folder)
	n.boot()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		nc, err := nats.Connect(n.url, as("operator")...)
		if err == nil {
			nc.Close()
			return n, "http://" + monitor
		}
		if time.Now().After(deadline) {
			t.Fatalf("connect to NATS: %v", err)
		}
	}
}

// contained is a pod's program, with the arguments and the environment that the
// cluster would give it.
func contained(t *testing.T, pod corev1.PodSpec, secrets map[string]map[string]string, more ...string) *exec.Cmd {
	t.Helper()
	c := pod.Containers[0]
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), theBinary, slices.Concat(c.Args, more)...)
	cmd.Dir, cmd.Env = t.TempDir(), []string{"HOME=/"}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			ref := e.ValueFrom.SecretKeyRef
			held, found := secrets[ref.Name][ref.Key]
			if !found && (ref.Optional == nil || !*ref.Optional) {
				t.Fatalf("%s: the Secret %s has no key %s", e.Name, ref.Name, ref.Key)
			}
			if !found {
				continue
			}
			value = held
		}
		cmd.Env = append(cmd.Env, e.Name+"="+value)
	}
	return cmd
}

func ready(t *testing.T, admin string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
