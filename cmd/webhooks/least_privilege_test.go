package main

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/nats-io/nats.go/jetstream"
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
	t.Setenv("NATS_MAX_STORE", "1GB")
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
	n := config.NATSSettings{URL: s.ClientURL(), User: user, Password: config.Password("password-of-" + user)}
	if slices.Contains([]string{"dispatcher", "operator"}, user) {
		n.Inbox = "_INBOX_" + user
	} else {
		n.API = "WEBHOOKS"
	}
	return n
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

func tryCommand(t *testing.T, n config.NATSSettings, stdin string, args ...string) (string, exitCode) {
	t.Helper()
	env := map[string]string{
		"NATS_URL": n.URL, "NATS_USER": n.User, "NATS_PASSWORD": n.Password.Reveal(), "NATS_INBOX_PREFIX": n.Inbox, "NATS_JS_API_PREFIX": n.API,
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
	address, err := newPorts().free()
	must(t, err)
	settings.Admin = config.AdminSettings{Listen: address, Token: apiToken}
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
	// what the admin API does for whoever has its token, it does as this user
	command(t, s, "dispatcher", "", "replay", "start", "--since", "1", "--dry-run")
	command(t, s, "dispatcher", "", "replay", "start", "--response", "ok1")
	command(t, s, "dispatcher", "", "replay", "list")
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
	tryTheAPI(t, &apiClient{validate: openAPI(t), base: "http://" + address})
	command(t, s, "observer", "", "audit")
	command(t, s, "operator", "", "backup", filepath.Join(t.TempDir(), "backup"))
	command(t, s, "operator", "", "forget", "--response", "ok1", "--survey", "s1", "--yes", "--wait", "0s")
	if strings.Contains(strings.ToLower(log.String()), "permissions violation") {
		t.Errorf("the service tried what it may not do:\n%s", log.String())
	}
	end()
	wantEachDeedOnlyByWhoMay(t, s)
	wantNobodyHears(t, s)
	wantAnswersToStay(t, s)
}

// tryTheAPI does all that the admin API offers, which is the dispatcher's work.
func tryTheAPI(t *testing.T, c *apiClient) {
	t.Helper()
	const one = "/v1/surveys/s3/webhook"
	c.do(t, http.MethodPut, one, `{"url":"https://example.com/hook","secret":"correct horse"}`).wantStatus(t, http.StatusCreated)
	for _, does := range []string{"/disable", "/enable?forget_owed=true"} {
		c.do(t, http.MethodPost, one+does, "").wantStatus(t, http.StatusOK)
	}
	for _, shows := range []string{one, one + "/health", one + "/deliveries", "/v1/surveys/s1/webhook/deliveries", "/v1/surveys/s2/dead-letters"} {
		c.do(t, http.MethodGet, shows, "").wantStatus(t, http.StatusOK)
	}
	c.do(t, http.MethodDelete, one, "", "If-Match", "*").wantStatus(t, http.StatusNoContent)
}

// natsPage says in its second table who may do what; this file holds it to the
// configuration.
const natsPage = "../../deployments/nats/README.md"

// deed is what somebody could want to do on the bus.
type deed struct {
	subject string // published to
	may     []string
}

// deedsOnThePage reads the table.
func deedsOnThePage(t *testing.T) (deeds []deed) {
	t.Helper()
	page, err := os.ReadFile(natsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| what | on NATS | who may |\n|---|---|---|\n")
	if !found {
		t.Fatal("the page has no table of who may do what")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), "|")
		var may []string
		if who := strings.TrimSpace(cells[3]); who != "nobody" {
			may = strings.Split(who, ", ")
		}
		for _, user := range may {
			if !slices.Contains(natsUsers, user) {
				t.Fatalf("the page lets %q do %s: there is no such user", user, cells[1])
			}
		}
		for subject := range strings.SplitSeq(strings.TrimSpace(cells[2]), ", ") {
			deeds = append(deeds, deed{strings.Trim(subject, "`"), may})
		}
	}
	if len(deeds) < 40 {
		t.Fatalf("the page has %d deeds: it was not understood", len(deeds))
	}
	return deeds
}

// inside says whether a user is one of the account that everything stands in.
func inside(user string) bool { return user == "dispatcher" || user == "operator" }

// wantEachDeedOnlyByWhoMay tries, as every user, everything that is on the page, with
// what can do no harm where it is allowed.
func wantEachDeedOnlyByWhoMay(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, user := range natsUsers {
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, d := range deedsOnThePage(t) {
			var may bool
			var err error
			if inside(user) {
				may, err = (&doctor{session: &session{nc: nc}}).may(ctx, d.subject)
				must(t, err)
			} else {
				may = reached(t, nc, d.subject)
			}
			if want := slices.Contains(d.may, user); may != want {
				t.Errorf("%s on %s: may is %v, and the page says %v", user, d.subject, may, want)
			}
		}
	}
}

// reached says whether anybody in the account of everything answers a user of
// another one. There a subject of the JetStream API has another name: under its own
// name it is that of the user's account, which has no JetStream.
func reached(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	names := []string{subject, "WEBHOOKS." + subject}
	if api, found := strings.CutPrefix(subject, "$JS.API."); found {
		names = []string{"WEBHOOKS." + api}
	}
	for _, name := range names {
		msg := &nats.Msg{Subject: name, Header: nats.Header{expectedStream: {noStream}, requiredLevel: {"1000000"}}, Data: refusedBody(subject)}
		switch _, err := nc.RequestMsg(msg, 5*time.Second); {
		case err == nil:
			return true
		case !errors.Is(err, nats.ErrNoResponders):
			t.Fatalf("ask %s: %v", name, err)
		}
	}
	return false
}

// wantNobodyHears listens, as every user, to what is not meant for it.
func wantNobodyHears(t *testing.T, s *server.Server) {
	t.Helper()
	for _, user := range natsUsers {
		refused := make(chan error, 20)
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix("_INBOX_"+user),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if !inside(user) {
			wantSilence(t, s, user, nc)
			continue
		}
		subjects := slices.DeleteFunc([]string{">", "_INBOX.>", "_INBOX_dispatcher.>", "_INBOX_operator.>", "responses.completed.>", "$KV.>", "$JS.>", "webhooks.>"},
			func(subject string) bool { return subject == "_INBOX_"+user+".>" })
		for _, subject := range subjects {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
		}
		for range subjects {
			select {
			case err := <-refused:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s: %v", user, err)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s may listen to some of %q", user, subjects)
			}
		}
	}
}

// wantSilence listens to everything in another account while things happen in that
// of everything.
func wantSilence(t *testing.T, s *server.Server, user string, nc *nats.Conn) {
	t.Helper()
	heard, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	rawPublishAs(t, s, "operator", "webhooks.dead.s9", "{}")
	rawPublishAs(t, s, "operator", "$KV.webhook_replicas.r9", "{}")
	rawPublishAs(t, s, "operator", "$KV.webhook_health.s9", "{}")
	if err := nc.Publish("the.last", nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		msg, err := heard.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Subject == "the.last" {
			break
		}
		got = append(got, msg.Subject)
	}
	var want []string
	if user == "platform" {
		want = []string{"$KV.webhook_health.s9"}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s hears %q, want %q", user, got, want)
	}
}

// wantAnswersToStay asks, as every user of another account, what it may ask, and has
// the answers sent to where they would do harm in that of everything.
func wantAnswersToStay(t *testing.T, s *server.Server) {
	t.Helper()
	operator := dial(t, s, nats.UserInfo("operator", "password-of-operator"), nats.CustomInboxPrefix("_INBOX_operator"))
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "webhook_endpoints")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "s9"); err != nil { // an empty message: what deletes a stream when the JetStream API gets it
		t.Fatal(err)
	}
	revision := lastRevision(t, kv)
	for user, ask := range map[string]*nats.Msg{
		"publisher": {Subject: "responses.completed.s9", Data: event("s9", "answer")},
		"platform":  {Subject: "WEBHOOKS.DIRECT.GET.KV_webhook_endpoints.$KV.webhook_endpoints.s9"},
		"observer":  {Subject: "WEBHOOKS.DIRECT.GET.KV_webhook_endpoints.$KV.webhook_endpoints.s9"},
	} {
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user))
		for _, reply := range []string{"$KV.webhook_endpoints.s9", "$JS.API.STREAM.DELETE.WEBHOOK_DEAD_LETTERS"} {
			if err := nc.PublishRequest(ask.Subject, reply, ask.Data); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Request(ask.Subject, ask.Data, 5*time.Second); err != nil { // answered after the one before
				t.Fatalf("%s: %v", user, err)
			}
		}
		if got := lastRevision(t, kv); got != revision {
			t.Errorf("an answer to %s was written as an endpoint", user)
			revision = got
		}
		if _, err := js.Stream(t.Context(), "WEBHOOK_DEAD_LETTERS"); err != nil {
			t.Fatalf("an answer to %s has removed a stream: %v", user, err)
		}
	}
}

func lastRevision(t *testing.T, kv jetstream.KeyValue) uint64 {
	t.Helper()
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq
}

func rawPublishAs(t *testing.T, s *server.Server, user, subject, body string) {
	t.Helper()
	nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix("_INBOX_"+user))
	if _, err := nc.Request(subject, []byte(body), 5*time.Second); err != nil {
		t.Fatal(err)
	}
}
