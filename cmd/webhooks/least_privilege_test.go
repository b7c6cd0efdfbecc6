package main

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
)

// natsUsers are the users of deployments/nats/accounts.conf.
var natsUsers = []string{"publisher", "platform", "dispatcher", "operator", "restorer", "observer", "sys"}

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
	if inside(user) {
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
	return tryWithin(t, 30*time.Second, n, stdin, args...)
}

// tryWithin gives a command so long.
func tryWithin(t *testing.T, given time.Duration, n config.NATSSettings, stdin string, args ...string) (string, exitCode) {
	t.Helper()
	env := map[string]string{
		"NATS_URL": n.URL, "NATS_USER": n.User, "NATS_PASSWORD": n.Password.Reveal(), "NATS_INBOX_PREFIX": n.Inbox, "NATS_JS_API_PREFIX": n.API,
		"WEBHOOKS_ALLOW_INSECURE_ENDPOINTS": "true",
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), given)
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
			for _, user := range []string{"observer", "operator", "dispatcher"} {
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
	command(t, s, "dispatcher", "", "dead-letters", "show", "1")
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
	for _, user := range []string{"observer", "dispatcher"} {
		command(t, s, user, "", "audit")
	}
	command(t, s, "dispatcher", "", "provision", "--dry-run")
	folder := filepath.Join(t.TempDir(), "backup")
	command(t, s, "operator", "", "backup", folder)
	command(t, s, "operator", "", "forget", "--response", "ok1", "--survey", "s1", "--yes", "--wait", "0s")
	if strings.Contains(strings.ToLower(log.String()), "permissions violation") {
		t.Errorf("the service tried what it may not do:\n%s", log.String())
	}
	end()
	resumes(t, s)
	restores(t, s, folder)
	wantEachDeedOnlyByWhoMay(t, s)
	wantNobodyHears(t, s)
	wantAnswersToStay(t, s)
}

// resumes does what the runbook says after an alarm, and wants whoever may not to be
// told so at once.
func resumes(t *testing.T, s *server.Server) {
	t.Helper()
	command(t, s, "dispatcher", "", "provision", "--resume-from", "mark", "--dry-run")
	wantRefused(t, as(s, "dispatcher"), "$JS.API.CONSUMER.RESET.RESPONSES.webhooks", "NATS_USER=operator NATS_PASSWORD=… NATS_INBOX_PREFIX=_INBOX_operator", "provision", "--resume-from", "mark")
	js, err := jetstream.New(dial(t, s, nats.UserInfo("dispatcher", "password-of-dispatcher"), nats.CustomInboxPrefix("_INBOX_dispatcher")))
	must(t, err)
	point, err := mark.ParseResumePoint("mark")
	must(t, err)
	if _, err := mark.Resume(t.Context(), js, layout.Layout{}, point); err == nil || !strings.Contains(err.Error(), "no answer came within") || !strings.Contains(config.Hint(err), "CONSUMER.RESET.RESPONSES.webhooks") {
		t.Errorf("nobody answers a reset: %v; what to do: %q", err, config.Hint(err))
	}
	_, err = js.Consumer(t.Context(), "RESPONSES", "webhooks")
	must(t, err)                                             // nothing was removed
	for _, place := range []string{"new", "mark", "first"} { // the last is before where the consumer was made to begin: it is made anew
		if out := command(t, s, "operator", "", "provision", "--resume-from", place); !strings.Contains(out, "resumed: the next event") {
			t.Errorf("resumed from %s:\n%s", place, out)
		}
	}
}

// restores restores a backup, as who may, on a server with the configuration that is
// shipped and nothing else; and one bucket of it where that alone was lost, with the
// requests that nats stream restore makes.
func restores(t *testing.T, s *server.Server, folder string) {
	t.Helper()
	empty := shippedNATS(t)
	wantRefused(t, as(empty, "operator"), "$JS.API.STREAM.RESTORE.", "NATS_USER=restorer", "restore", folder)
	if out := command(t, empty, "restorer", "", "restore", folder); !strings.Contains(out, "nothing needs to be resumed") {
		t.Errorf("restored:\n%s", out)
	}
	nc := dial(t, s, nats.UserInfo("restorer", "password-of-restorer"), nats.CustomInboxPrefix("_INBOX_restorer"))
	js, err := jetstream.New(nc)
	must(t, err)
	manager, err := jsm.New(nc)
	must(t, err)
	for _, stream := range []string{"KV_webhook_endpoints", "RESPONSES"} {
		must(t, js.DeleteStream(t.Context(), stream))
		_, _, err = manager.RestoreSnapshotFromDirectory(t.Context(), stream, filepath.Join(folder, "streams", stream))
		must(t, err)
	}
	if out := command(t, s, "operator", "", "endpoint", "list"); !strings.Contains(out, "s1") {
		t.Errorf("the restored bucket has no endpoint:\n%s", out)
	}
	if out, code := tryCommand(t, as(s, "operator"), "", "status"); code != exitAlarm {
		t.Errorf("the event stream restored alone: exit %d, want %d\n%s", code, exitAlarm, out)
	}
	text, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	must(t, err)
	var manifest struct{ Settled uint64 }
	must(t, json.Unmarshal(text, &manifest))
	command(t, s, "operator", "", "provision", "--resume-from", fmt.Sprint(manifest.Settled+1))
	command(t, s, "operator", "", "status")
}

// TestWhoMayNotAskIsToldSo has users ask what they may not, or hear answers where
// they may not: nobody answers them, and the hint says why.
func TestWhoMayNotAskIsToldSo(t *testing.T) {
	s := shippedNATS(t)
	wantRefused(t, as(s, "dispatcher"), "$JS.API.STREAM.CREATE.RESPONSES", "that is operator", "provision")
	strange := as(s, "operator")
	strange.Inbox = ""
	wantRefused(t, strange, "Subscription", "set NATS_INBOX_PREFIX as the user has it", "status")
}

// wantRefused wants a command to fail and to say at what, and what to do.
func wantRefused(t *testing.T, n config.NATSSettings, at, do string, args ...string) {
	t.Helper()
	out, code := tryWithin(t, 2*time.Second, n, "", args...) // whoever is not answered need not wait for it here
	if _, hint, _ := strings.Cut(out, "hint: "); code == exitOK || !strings.Contains(out, at) || !strings.Contains(hint, do) {
		t.Errorf("%s: webhooks %s: exit %d, want a word of %q, and what to do: %q\n%s", n.User, strings.Join(args, " "), code, at, do, out)
	}
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
func inside(user string) bool {
	return slices.Contains([]string{"dispatcher", "operator", "restorer"}, user)
}

// limited says whether a user has a list of what it may, in its account.
func limited(user string) bool { return inside(user) || user == "sys" }

// wantEachDeedOnlyByWhoMay tries, as every user, everything that is on the page, with
// what can do no harm where it is allowed.
func wantEachDeedOnlyByWhoMay(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, user := range natsUsers {
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix(inboxOf(user)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, d := range deedsOnThePage(t) {
			var may bool
			var err error
			if limited(user) {
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

// inboxOf is where a user may hear answers. Nobody else is in the account of sys.
func inboxOf(user string) string {
	if user == "sys" {
		return "_INBOX"
	}
	return "_INBOX_" + user
}

// wantNobodyHears listens, as every user, to what is not meant for it.
func wantNobodyHears(t *testing.T, s *server.Server) {
	t.Helper()
	for _, user := range natsUsers {
		refused := make(chan error, 20)
		nc := dial(t, s, nats.UserInfo(user, "password-of-"+user), nats.CustomInboxPrefix(inboxOf(user)),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if !limited(user) {
			wantSilence(t, s, user, nc)
			continue
		}
		subjects := slices.DeleteFunc([]string{">", "_INBOX.>", "_INBOX_dispatcher.>", "_INBOX_operator.>", "_INBOX_restorer.>", "$SYS.>", "responses.completed.>", "$KV.>", "$JS.>", "webhooks.>"},
			func(subject string) bool { return subject == inboxOf(user)+".>" })
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
