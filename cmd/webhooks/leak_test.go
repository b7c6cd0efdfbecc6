package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/api"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

// What is planted in a full run, each distinct, so that a find says whose it is.
const (
	plantedSecret   = "planted-secret-of-an-owner"
	plantedStandard = "whsec_cGxhbnRlZC1zdGFuZGFyZC1zZWNyZXQ="
	plantedDecoded  = "planted-standard-secret"
	plantedRotated  = "planted-secret-after-rotation"
	plantedForeign  = "planted-secret-under-another-key"
	plantedByAPI    = "planted-secret-put-over-http"
	plantedPath     = "planted-path-token"
	plantedQuery    = "planted-query-token"
	plantedHeader   = "planted-header-token"
	plantedUser     = "planted-nats-token-as-user"
	plantedPassword = "planted-nats-password"
	plantedToken    = "planted-admin-token"
)

// byDesign are the screens that show an endpoint's URL, whole: that is what they are
// for. A header's value and a secret are shown by none.
var byDesign = map[string]string{
	"endpoint get":           "an endpoint as its owner wrote it",
	"endpoint list":          "the same of all endpoints",
	"endpoint set":           "says where the responses go from now on",
	"endpoint enable":        "the same",
	"endpoint rotate-secret": "the same",
	"endpoint test":          "says where the test went",
}

// panickingAt panics at one survey's events, with all that it has in its hands.
type panickingAt struct {
	consumer.Sender
	survey events.Survey
}

func (p panickingAt) Send(ctx context.Context, t *delivery.Target, e events.Event, m delivery.Meta) delivery.Attempt {
	if e.Survey == p.survey {
		panic(fmt.Sprintf("with %v and %+v and %#v and %s", t, t, t, plantedSecret))
	}
	return p.Sender.Send(ctx, t, e, m)
}

// leakWorld is a whole deployment in which secrets are planted.
type leakWorld struct {
	t        *testing.T
	v        *service
	store    string // folder of the NATS server
	ring     string // file
	at       config.NATSSettings
	log      lockedBuffer
	counted  *prometheus.Registry
	admin    string
	secret   string // file with plantedRotated
	backup   string // folder that is made
	made     string // key ring that is made
	replay   string // id of the one that is started
	end      func()
	answered int
	unpacked int // messages, before they were searched
}

// newLeakWorld runs a service with a user and a password on a NATS of its own.
func newLeakWorld(t *testing.T) *leakWorld {
	w := &leakWorld{t: t, store: t.TempDir(), counted: prometheus.NewRegistry(), ring: newRing(t), secret: filepath.Join(t.TempDir(), "s"), backup: filepath.Join(t.TempDir(), "b"), made: filepath.Join(t.TempDir(), "k")}
	s := started(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: w.store, SyncAlways: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
		Username: plantedUser, Password: plantedPassword,
	})
	must(t, os.WriteFile(w.secret, []byte(plantedRotated), 0o600))
	w.at = config.NATSSettings{URL: strings.Replace(s.ClientURL(), "://", "://"+plantedUser+":"+plantedPassword+"@", 1)}
	address, err := newPorts().free()
	must(t, err)
	w.admin = "http://" + address
	settings := testSettings(t.TempDir())
	settings.NATS, settings.Keys.Ring = w.at, w.ring
	settings.Admin.Listen, settings.Admin.Token = address, plantedToken
	w.v, err = openService(t.Context(), settings, noEnv, zerolog.New(&w.log).Level(zerolog.TraceLevel))
	must(t, err)
	w.v.consumer = consumer.New(w.v.js, w.v.store, panickingAt{w.v.client, "panics"}, consumer.Options{
		Layout: w.v.layout, MaxBytes: events.MaxBytes, Slots: 100, Replica: w.v.replica, Log: w.v.log, Metrics: w.counted, History: w.v.history, Panics: w.v.panics,
	})
	w.end = running(t, w.v)
	return w
}

// privateKeys are the keys of a ring as its file has them now, and as what they are.
func privateKeys(t *testing.T, ring string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(ring)
	must(t, err)
	var file struct {
		Keys []struct {
			Private string `json:"private"`
		} `json:"keys"`
	}
	must(t, json.Unmarshal(b, &file))
	for _, k := range file.Keys {
		key, err := base64.StdEncoding.DecodeString(k.Private)
		must(t, err)
		all = append(all, k.Private, string(key))
	}
	return all
}

// planted is what is searched for, by where it may not be.
type planted struct {
	never leaktest.Secrets // anywhere
	shown leaktest.Secrets // where an endpoint is shown to its owner
	all   leaktest.Secrets // everywhere else
}

func plant(t *testing.T, keys []string) planted {
	t.Helper()
	secrets := slices.Concat([]string{
		plantedSecret, plantedStandard, plantedDecoded, plantedRotated, plantedForeign, plantedByAPI, plantedUser, plantedPassword, plantedToken,
	}, keys)
	return planted{
		never: leaktest.Plant(t, secrets...),
		shown: leaktest.Plant(t, append(secrets, plantedHeader)...),
		all:   leaktest.Plant(t, append(secrets, plantedHeader, plantedPath, plantedQuery)...),
	}
}

// talks is a receiver that says back all it was sent, and the secrets it shares
// with us; after five seconds where it hangs.
func (w *leakWorld) talks(status int) string {
	ended := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if status == 0 {
			select {
			case <-ended:
			case <-req.Context().Done():
			}
			return
		}
		rw.Header().Set("Location", "https://example.com/"+plantedPath)
		rw.WriteHeader(status)
		_, _ = fmt.Fprintln(rw, req.URL, req.Header, plantedSecret, plantedStandard, plantedDecoded)
	}))
	w.t.Cleanup(func() { close(ended); s.Close() })
	return s.URL + "/" + plantedPath + "?token=" + plantedQuery
}

// connect gives a survey an endpoint whose owner has all the secrets there are.
func (w *leakWorld) connect(survey events.Survey, status int, keys *config.Keyring, secrets ...string) {
	w.t.Helper()
	e := config.Endpoint{Survey: survey, URL: w.talks(status), Enabled: true, Headers: map[string]string{"Authorization": "Bearer " + plantedHeader}}
	for i, text := range secrets {
		s, err := delivery.NewSecret(text)
		must(w.t, err)
		sealed, err := keys.Seal(survey, s)
		must(w.t, err)
		if i > 0 {
			at := time.Now().Add(time.Hour)
			sealed.ExpiresAt = &at
		}
		e.Secrets = append(e.Secrets, sealed)
	}
	_, err := w.v.store.Put(w.t.Context(), e)
	must(w.t, err)
}

// live goes through everything that may become of an event.
func (w *leakWorld) live() {
	w.t.Helper()
	for survey, status := range map[events.Survey]int{"s1": 200, "s2": 400, "s3": 302, "s4": 500, "s5": 410, "hangs": 0, "panics": 200} {
		w.connect(survey, status, w.v.keys, plantedStandard, plantedSecret)
	}
	other, err := config.GenerateKey()
	must(w.t, err)
	foreign, err := config.NewKeyring(other)
	must(w.t, err)
	w.connect("foreign", 200, foreign, plantedForeign)
	pub := events.NewPublisher(w.v.js, events.PublisherOptions{})
	for _, survey := range []events.Survey{"s1", "s2", "s3", "s4", "s5", "hangs", "panics", "foreign"} {
		_, err := pub.Publish(w.t.Context(), event(survey, "r-"+string(survey)))
		must(w.t, err)
	}
	_, err = w.v.js.Publish(w.t.Context(), "responses.completed.s1", []byte("no event"))
	must(w.t, err)
	waitSettled(w.t, w.v)
	within(w.t, func() string {
		out, _ := tryCommand(w.t, w.at, "", "attempts", "--json")
		if n := strings.Count(out, `"r-`); n < 6 {
			return fmt.Sprintf("the delivery log shows %d attempts:\n%s", n, out)
		}
		return ""
	})
}

// theReplay stands in a line for the id of the replay that was started before it.
const theReplay = "THE-REPLAY"

var replayStarted = regexp.MustCompile(`replay (\w+) started`)

// lines are command lines of every command there is, in an order that makes sense.
func (w *leakWorld) lines() [][]string {
	set := func(more ...string) []string {
		return append([]string{"endpoint", "set", "s6", "--keyring", w.ring, "--secret-file", w.secret}, more...)
	}
	words := strings.Fields
	return [][]string{
		words("version"), words("completion bash"), words("config show"), words("config show --json"), words("config show --admin-token " + plantedToken + " --keyring " + w.ring),
		words("demo"), words("run --admin-listen 127.0.0.1:0 --log-level trace --keyring " + w.ring), words("provision --dry-run"), words("provision"),
		words("status"), words("status --json"), words("lanes"), words("lanes --json"), words("doctor --survey s1"), words("doctor --json --url http://127.0.0.1:1/" + plantedQuery),
		words("why r-s1"), words("why r-s2 --json"), words("why r-panics"), words("why r-foreign"), words("audit"), words("audit --json"),
		words("attempts"), words("attempts --json"), words("attempts --failed"),
		words("dead-letters list"), words("dead-letters list --json"), words("dead-letters show 1"), words("dead-letters show 2"), words("dead-letters show 1 --json"), words("dead-letters show 2 --json"),
		words("dead-letters redrive --dry-run"), words("dead-letters redrive 1"), words("dead-letters purge 2"),
		set("--url", "http://127.0.0.1:1/"+plantedPath, "--header", "Authorization=Bearer "+plantedHeader), set("--url", "http://user:"+plantedSecret+"@example.com/"),
		set("--url", "https://example.com/"+plantedSecret+"#x"), set("--header", plantedHeader), set("--header", "Authorization=Bearer", plantedHeader),
		words("endpoint get s1"), words("endpoint get s4 --json"), words("endpoint list"), words("endpoint list --json"), words("endpoint test s1 --keyring " + w.ring), words("endpoint test s2 --json --keyring " + w.ring),
		words("endpoint test foreign --keyring " + w.ring), words("endpoint rotate-secret s1 --keyring " + w.ring + " --secret-file " + w.secret),
		words("endpoint disable s4"), words("endpoint enable s4"), words("endpoint enable s5"), words("endpoint remove s6"),
		words("replay start --since 1h --survey s1 --dry-run"), words("replay start --since 1h --rate 0.2"), words("replay list"), words("replay list --json"),
		words("replay show " + theReplay), words("replay pause " + theReplay), words("replay show --json " + theReplay), words("replay resume " + theReplay), words("replay cancel " + theReplay),
		words("replay show none"), words("replay pause none"), words("replay resume none"), words("replay cancel none"),
		words("keys list --keyring " + w.ring), words("keys public --keyring " + w.ring), words("keys generate --keyring " + w.ring), words("keys generate --keyring " + w.made), words("keys rotate --keyring " + w.ring), words("keys reseal --keyring " + w.ring),
		words("keys remove none --keyring " + w.ring),
		words("listen --listen 127.0.0.1:0 --secret-file " + w.secret), words("verify --secret-file " + w.secret + " --signature sha256=00 " + w.secret),
		words("backup " + w.backup), words("backup " + w.backup + " --json"), words("restore " + w.backup), words("restore " + w.backup + " --json"),
		{"publish", "-"},
		words("forget --response r-s3 --survey s3 --yes"), words("forget --survey s3 --yes --json"),
		words("status --nats-url nats://" + plantedUser + ":" + plantedPassword + "@127.0.0.1:1"), words("status --nats-url nats://" + plantedUser + "@127.0.0.1:1"), words("doctor --nats-monitor http://me:" + plantedPassword + "@127.0.0.1:1"),
	}
}

// commands runs every command there is and hands over what each has written.
func (w *leakWorld) commands(look func(command, screen string)) {
	w.t.Helper()
	ran := map[string]bool{}
	for _, line := range w.lines() {
		parsed := commandOf(leaves(w.t), line)
		ran[parsed] = true
		if last := len(line) - 1; line[last] == theReplay {
			line[last] = w.replay
		}
		screen := w.run(parsed, line)
		if started := replayStarted.FindStringSubmatch(screen); started != nil {
			w.replay = started[1]
		}
		look(parsed, screen)
	}
	for _, leaf := range newParser(w.t).Model.Leaves(true) {
		if path := pathOf(leaf); !ran[path] {
			w.t.Errorf("webhooks %s is run by no line of this test: a secret in what it writes would go unnoticed", path)
		}
	}
}

// run runs one command line; one that does not end by itself for two seconds.
func (w *leakWorld) run(command string, line []string) string {
	bound := 30 * time.Second
	if command == "run" || command == "listen" {
		bound = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), bound)
	defer cancel()
	env := map[string]string{"NATS_URL": w.at.URL, "WEBHOOKS_ALLOW_INSECURE_ENDPOINTS": "true", "WEBHOOKS_ADMIN_TOKEN": plantedToken}
	var screen lockedBuffer
	run(ctx, line, func(name string) string { return env[name] }, bytes.NewReader(event("s1", "r-cli")), &screen, &screen)
	return screen.String()
}

// ask sends a request to the admin listener.
func (w *leakWorld) ask(method, path, body string, headers ...string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.admin+path, strings.NewReader(body))
	must(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	must(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	if resp.StatusCode < 300 {
		w.answered++
	}
	return fmt.Sprint(resp.Status, "\n", resp.Header, "\n", string(text))
}

// asks asks for everything that the admin listener serves, as the document of the API
// has it, and hands over every answer.
func (w *leakWorld) asks(look func(request, answer string)) {
	w.t.Helper()
	bearer := []string{"Authorization", "Bearer " + plantedToken}
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/version", "/debug/pprof/", "/nothing"} {
		look("GET "+path, w.ask("GET", path, "", bearer...))
		look("GET "+path+" with a wrong token", w.ask("GET", path, "", "Authorization", "Bearer x"+plantedToken))
	}
	put := fmt.Sprintf(`{"url":"http://127.0.0.1:1/%s","secret":%q,"headers":{"Authorization":"Bearer %s"}}`, plantedPath, plantedByAPI, plantedHeader)
	look("PUT", w.ask("PUT", "/v1/surveys/api/webhook", put, append(bearer, "Content-Type", "application/json", "If-None-Match", "*")...))
	look("PUT of what is none", w.ask("PUT", "/v1/surveys/api/webhook", `{"url":"http://me:`+plantedSecret+`@a/","secret":"`+plantedByAPI+`","x":1}`, append(bearer, "Content-Type", "application/json", "If-Match", "*")...))
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	must(w.t, yaml.Unmarshal(api.Document(), &doc))
	for _, survey := range []string{"s1", "s4", "panics", "foreign", "api"} {
		for path, methods := range doc.Paths {
			for method := range methods {
				if method == "parameters" || method == "put" || method == "delete" && survey != "api" {
					continue
				}
				method, path := strings.ToUpper(method), strings.ReplaceAll(path, "{survey}", survey)
				look(method+" "+path, w.ask(method, path, "", append(bearer, "If-Match", "*")...))
			}
		}
	}
}

// messages hands over every message of every stream, header and body.
func (w *leakWorld) messages(look func(stream string, text []byte)) (n int) {
	w.t.Helper()
	for name := range w.v.js.StreamNames(w.t.Context()).Name() {
		stream, err := w.v.js.Stream(w.t.Context(), name)
		must(w.t, err)
		state := stream.CachedInfo().State
		for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
			msg, err := stream.GetMsg(w.t.Context(), seq)
			if err != nil {
				continue // removed
			}
			if msg.Header.Get("Popsee-Encoding") == "s2" {
				msg.Data, err = s2.Decode(nil, msg.Data)
				must(w.t, err)
				w.unpacked++
			}
			n++
			look(name, fmt.Appendf(nil, "%s %v %s", msg.Subject, msg.Header, msg.Data))
		}
	}
	return n
}

// TestNoSecretIsInAnythingAFullRunWrites plants secrets, runs the whole service with
// deliveries that succeed, fail, hang, are parked, become dead letters and panic, a
// secret that nobody can open, every command and every request of the admin listener,
// and searches all that was written: log, metrics, screens, answers, each message of
// each stream and bucket, and the server's folder. What holds something by design is
// named, and may hold that alone.
func TestNoSecretIsInAnythingAFullRunWrites(t *testing.T) {
	w := newLeakWorld(t)
	keys := privateKeys(t, w.ring)
	p := plant(t, keys)
	searched := func(where string, s leaktest.Secrets, text []byte) { t.Helper(); s.In(t, where, text) } // one place to break on purpose

	w.live()
	var screens strings.Builder
	w.asks(func(request, answer string) {
		s := p.all
		if strings.HasSuffix(request, "/webhook") || strings.HasPrefix(request, "PUT") || strings.HasSuffix(request, "able") {
			s = p.shown // the webhook itself, with its URL
		}
		searched("the answer to "+request, s, []byte(answer))
	})
	w.commands(func(command, screen string) {
		fmt.Fprintf(&screens, "%s\n", screen)
		s := p.all
		if byDesign[command] != "" {
			s = p.shown
		}
		searched("webhooks "+command, s, []byte(screen))
	})
	made := append(privateKeys(t, w.ring), privateKeys(t, w.made)...)
	p = plant(t, made) // those too that the commands have made
	searched("what the commands have shown", p.never, []byte(screens.String()))
	handled := scrape(t, w.counted)
	metrics := append(scrape(t, w.v.metrics), handled...)
	searched("the metrics", p.all, metrics)
	bucket := "KV_" + w.v.layout.Names.Endpoints()
	messages := w.messages(func(stream string, text []byte) {
		s := p.all
		if stream == bucket {
			s = p.never // an endpoint as it is stored: secrets sealed, URL and headers as they are sent
		}
		searched("a message of "+stream, s, text)
	})
	w.end()
	searched("the log", p.all, []byte(w.log.String()))
	if n := p.never.InFolder(t, w.store); n < 5 {
		t.Errorf("searched %d files", n)
	}
	if n := p.never.InFolder(t, w.backup); n < 5 {
		t.Errorf("searched %d files of the backup", n)
	}
	files := w.folderWithout(bucket, p.all)

	// Nothing of this would show anything if it had not happened.
	for what, there := range map[string]bool{
		"an attempt in the log":               strings.Contains(w.log.String(), `"message":"attempt"`),
		"a time-out":                          strings.Contains(w.log.String(), `"reason":"timeout"`),
		"a panic in the log":                  strings.Contains(w.log.String(), "panic while handling"),
		"a panic in the metrics":              bytes.Contains(metrics, []byte(`webhooks_panics_total{place="event"} `)) && !bytes.Contains(metrics, []byte(`webhooks_panics_total{place="event"} 0`)),
		"a secret that cannot be opened":      !bytes.Contains(handled, []byte("webhooks_unsealable_secrets_total 0\n")),
		"the stack of a dead letter":          strings.Contains(screens.String(), "leak_test.go:"),
		"what a receiver has said":            strings.Contains(screens.String(), "[redacted]"),
		"an endpoint's URL by design":         strings.Contains(screens.String(), plantedPath),
		"keys that were made":                 len(made) == 3*len(keys),
		"a replay that goes":                  strings.Contains(screens.String(), w.replay+" is running since"),
		"a replay that is paused":             strings.Contains(screens.String(), "replay "+w.replay+" is paused;"),
		"a replay that goes on":               strings.Contains(screens.String(), "replay "+w.replay+" is running;"),
		"a replay that is cancelled":          strings.Contains(screens.String(), "replay "+w.replay+" is cancelled;"),
		"answers of the admin API":            w.answered > 20,
		"messages of streams":                 messages > 30,
		"messages that are packed":            w.unpacked > 0,
		"files of other streams than the one": files > 5,
	} {
		if !there {
			t.Errorf("there is nothing of %s: this test shows nothing", what)
		}
	}
	// The endpoints' bucket holds what it does by design; found there, the search finds.
	f := &findings{TB: t}
	if p.all.InFolder(f, filepath.Join(w.store, "jetstream")); f.times == 0 {
		t.Error("the planted path is not found in the bucket of the endpoints, where it stands")
	}
}

// folderWithout searches the server's folder but for one stream's.
func (w *leakWorld) folderWithout(stream string, s leaktest.Secrets) (files int) {
	w.t.Helper()
	streams, err := filepath.Glob(filepath.Join(w.store, "jetstream", "*", "streams", "*"))
	must(w.t, err)
	for _, dir := range streams {
		if filepath.Base(dir) != stream {
			files += s.InFolder(w.t, dir)
		}
	}
	return files
}

// findings is a test that counts its failures instead of failing.
type findings struct {
	testing.TB
	times int
}

func (f *findings) Helper()               {}
func (f *findings) Errorf(string, ...any) { f.times++ }

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, g prometheus.Gatherer) []byte {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return rec.Body.Bytes()
}
