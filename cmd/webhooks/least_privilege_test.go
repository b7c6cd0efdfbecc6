package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
)

// natsUsers are the users of deployments/nats/accounts.conf.
var natsUsers = []string{"publisher", "platform", "dispatcher", "operator", "observer"}

// shippedNATS is a real server with the configuration that is shipped.
func shippedNATS(t *testing.T) *server.Server {
	t.Helper()
	for _, user := range natsUsers {
		t.Setenv("NATS_"+strings.ToUpper(user)+"_PASSWORD", "password-of-"+user)
	}
	o, err := server.ProcessConfigFile(filepath.Join("..", "..", "deployments", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !o.SyncAlways {
		t.Error("the shipped configuration does not sync what it acknowledges")
	}
	o.Host, o.Port, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
	o.StoreDir, o.NoSigs, o.NoLog = t.TempDir(), true, true
	return started(t, o)
}

// as is how a user of the shipped configuration connects.
func as(s *server.Server, user string) config.NATSSettings {
	return config.NATSSettings{URL: s.ClientURL(), User: user, Password: config.Password("password-of-" + user), Inbox: "_INBOX_" + user}
}

// command runs one command as a user, and wants it to succeed.
func command(t *testing.T, s *server.Server, user, stdin string, args ...string) string {
	t.Helper()
	out, code := tryCommand(t, as(s, user), stdin, args...)
	if code != exitOK {
		t.Errorf("%s: webhooks %s: exit %d\n%s", user, strings.Join(args, " "), code, out)
	}
	return out
}

func tryCommand(t *testing.T, n config.NATSSettings, stdin string, args ...string) (string, int) {
	t.Helper()
	env := map[string]string{
		"NATS_URL": n.URL, "NATS_USER": n.User, "NATS_PASSWORD": n.Password.Reveal(), "NATS_INBOX_PREFIX": n.Inbox,
		"WEBHOOKS_ALLOW_INSECURE_ENDPOINTS": "true",
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code := run(ctx, args, func(name string) string { return env[name] }, strings.NewReader(stdin), &out, &out)
	return out.String(), code
}

// TestEachUserOfNATSCanDoItsWorkAndNothingElse runs a whole deployment on the
// shipped configuration, each part of it as its own user, and then tries as each
// user what the others do.
func TestEachUserOfNATSCanDoItsWorkAndNothingElse(t *testing.T) {
	s := shippedNATS(t)
	ring := newRing(t)
	secret := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(secret, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, s, "operator", "", "provision")

	settings := testSettings(t.TempDir())
	settings.NATS, settings.Keys.Ring = as(s, "dispatcher"), ring
	var log lockedBuffer
	v, err := openService(t.Context(), settings, noEnv, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	end := running(t, v)
	defer end()

	good := &ownersServer{accepted: map[string]int{}}
	receiver := httptest.NewServer(good)
	defer receiver.Close()
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer gone.Close()
	command(t, s, "platform", "", "endpoint", "set", "s1", "--url", receiver.URL, "--secret-file", secret, "--keyring", ring)
	command(t, s, "platform", "", "endpoint", "set", "s2", "--url", gone.URL, "--secret-file", secret, "--keyring", ring)
	command(t, s, "platform", "", "endpoint", "get", "s1")
	for i := range 20 {
		command(t, s, "publisher", string(event("s1", fmt.Sprint("ok", i))), "publish", "-")
	}
	for i := range 20 {
		command(t, s, "publisher", string(event("s2", fmt.Sprint("no", i))), "publish", "-")
	}
	rawPublishAs(t, s, "publisher", "responses.completed.s1", "no event at all")
	waitSettled(t, v)
	good.mu.Lock()
	if len(good.accepted) != 20 {
		t.Errorf("%d of 20 events were delivered", len(good.accepted))
	}
	good.mu.Unlock()
	for name, want := range map[string]string{
		"status": "s2", "lanes": "s2", "attempts --survey s1": "ok1", "dead-letters list": "malformed", "why ok1 --survey s1": "ok1", "endpoint list": "s1", "endpoint get s2": "failing",
	} {
		within(t, func() string {
			for _, user := range []string{"observer", "operator"} {
				if out := command(t, s, user, "", strings.Fields(name)...); !strings.Contains(out, want) {
					return fmt.Sprintf("%s: webhooks %s does not show %q:\n%s", user, name, want, out)
				}
			}
			return ""
		})
	}
	command(t, s, "platform", "", "endpoint", "list")
	command(t, s, "platform", "", "endpoint", "rotate-secret", "s1", "--generate-secret", "--keyring", ring)
	command(t, s, "platform", "", "endpoint", "disable", "s2")
	command(t, s, "platform", "", "endpoint", "enable", "s2")
	command(t, s, "platform", "", "endpoint", "remove", "s2")
	command(t, s, "operator", "", "keys", "rotate", "--keyring", ring)
	command(t, s, "operator", "", "keys", "reseal", "--keyring", ring)
	command(t, s, "operator", "", "dead-letters", "purge", "--reason", "malformed")
	command(t, s, "operator", "", "provision", "--dry-run")
	within(t, func() string { // the lane of the endpoint that was removed
		if out := command(t, s, "observer", "", "dead-letters", "list"); !strings.Contains(out, "no-endpoint") {
			return "the removed endpoint's lane is not among the dead letters:\n" + out
		}
		return ""
	})
	if out := command(t, s, "dispatcher", "", "doctor"); !strings.Contains(out, "rights that were tried") {
		t.Errorf("the doctor finds rights missing:\n%s", out)
	}
	command(t, s, "observer", "", "audit")
	command(t, s, "operator", "", "backup", filepath.Join(t.TempDir(), "backup"))
	command(t, s, "operator", "", "forget", "--response", "ok1", "--survey", "s1", "--yes", "--wait", "0s")
	if strings.Contains(strings.ToLower(log.String()), "permissions violation") {
		t.Errorf("the service tried what it may not do:\n%s", log.String())
	}
	end()
	wantNothingElse(t, s)
}

// deeds are what somebody could want to do on the bus, by whether each user may.
var deeds = map[string][]string{
	"responses.completed":                                 {"publisher"},
	"responses.completed.s1":                              {"publisher"},
	"$KV.webhook_endpoints.s1":                            {"platform", "operator"},
	"$KV.webhook_health.s1":                               {"dispatcher", "operator"},
	"$KV.webhook_state.webhooks":                          {"dispatcher", "operator"},
	"$KV.webhook_shards.00":                               {"dispatcher", "operator"},
	"webhooks.lanes.00.s1":                                {"dispatcher", "operator"},
	"webhooks.dead.s1":                                    {"dispatcher", "operator"},
	"webhooks.attempts.00":                                {"dispatcher", "operator"},
	"$JS.ACK.RESPONSES.webhooks.1.1.1.1.1":                {"dispatcher"},
	"$JS.API.CONSUMER.MSG.NEXT.RESPONSES.webhooks":        {"dispatcher"},
	"$JS.API.CONSUMER.CREATE.RESPONSES.webhooks":          {"dispatcher", "operator"},
	"$JS.API.CONSUMER.CREATE.RESPONSES.webhooks.x":        {"dispatcher", "operator"},
	"$JS.API.CONSUMER.DELETE.RESPONSES.webhooks":          {"dispatcher", "operator"},
	"$JS.API.CONSUMER.RESET.RESPONSES.webhooks":           {"operator"},
	"$JS.API.CONSUMER.DURABLE.CREATE.RESPONSES.webhooks":  {"operator"},
	"$JS.API.CONSUMER.CREATE.RESPONSES":                   {"operator"},
	"$JS.API.CONSUMER.CREATE.RESPONSES.reader":            {"dispatcher", "operator", "observer"},
	"$JS.API.CONSUMER.CREATE.WEBHOOK_DEAD_LETTERS.reader": {"operator", "observer"},
	"$JS.API.CONSUMER.CREATE.KV_webhook_endpoints.x":      {"platform", "dispatcher", "operator", "observer"},
	"$JS.API.STREAM.MSG.GET.RESPONSES":                    {"dispatcher", "operator", "observer"},
	"$JS.API.DIRECT.GET.RESPONSES":                        {"dispatcher", "operator", "observer"},
	"$JS.API.DIRECT.GET.KV_webhook_endpoints.x":           {"platform", "dispatcher", "operator", "observer"},
	"$JS.API.STREAM.CREATE.RESPONSES":                     {"operator"},
	"$JS.API.STREAM.CREATE.MINE":                          {"operator"},
	"$JS.API.STREAM.UPDATE.WEBHOOK_LANES":                 {"operator"},
	"$JS.API.STREAM.DELETE.RESPONSES":                     {},
	"$JS.API.STREAM.DELETE.WEBHOOK_LANES":                 {},
	"$JS.API.STREAM.PURGE.RESPONSES":                      {},
	"$JS.API.STREAM.PURGE.KV_webhook_endpoints":           {},
	"$JS.API.STREAM.PURGE.WEBHOOK_LANES":                  {"dispatcher", "operator"},
	"$JS.API.STREAM.MSG.DELETE.RESPONSES":                 {"operator"}, // one person's answers, when they ask for it
	"$JS.API.STREAM.MSG.DELETE.WEBHOOK_DEAD_LETTERS":      {"operator"},
	"$JS.API.STREAM.RESTORE.RESPONSES":                    {},
	"$JS.API.STREAM.SNAPSHOT.RESPONSES":                   {"operator"},
	"$JS.SNAPSHOT.ACK.RESPONSES.x":                        {"operator"},
	"$JS.SNAPSHOT.RESTORE.RESPONSES.x":                    {},
	"$JS.API.STREAM.LEADER.STEPDOWN.RESPONSES":            {},
	"$JS.API.ACCOUNT.PURGE.WEBHOOKS":                      {},
	"$SYS.REQ.SERVER.PING":                                {},
	"anything.else":                                       {},
	"_INBOX_dispatcher.x":                                 {},
}

// wantNothingElse publishes, as every user, what it must not, and listens where it
// must not.
func wantNothingElse(t *testing.T, s *server.Server) {
	t.Helper()
	for _, user := range natsUsers {
		violations := make(chan error, 200)
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix("_INBOX_"+user),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
		want := 0
		for subject, may := range deeds {
			if slices.Contains(may, user) {
				continue
			}
			want++
			if err := nc.Publish(subject, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		for _, subject := range []string{">", "_INBOX.>", "_INBOX_dispatcher.>", "_INBOX_observer.>", "responses.completed.>", "$KV.>", "$JS.>", "webhooks.>"} {
			if subject == "_INBOX_"+user+".>" {
				continue
			}
			want++
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		for range want {
			select {
			case err := <-violations:
				if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
					t.Errorf("%s: %v", user, err)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: fewer than %d deeds were refused", user, want)
			}
		}
	}
}

func rawPublishAs(t *testing.T, s *server.Server, user, subject, body string) {
	t.Helper()
	nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix("_INBOX_"+user))
	if _, err := nc.Request(subject, []byte(body), 5*time.Second); err != nil {
		t.Fatal(err)
	}
}
