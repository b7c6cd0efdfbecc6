package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/popsee/webhooks/delivery/leaktest"
)

// login is one way to say to NATS who one is.
type login struct {
	asks    func(o *server.Options)                 // what the server wants to see
	asksFor func(o *server.Options)                 // the same of somebody else: we are refused
	says    func(t *testing.T, url string) []string // environment: name, value, …
	secrets []string
}

// byToken is a token, said in one of the ways there are.
func byToken(says func(t *testing.T, url, token string) []string) func(*testing.T) login {
	const token = "planted-nats-token-4711"
	return func(*testing.T) login {
		return login{
			asks:    func(o *server.Options) { o.Authorization = token },
			asksFor: func(o *server.Options) { o.Authorization = "another" },
			says:    func(t *testing.T, url string) []string { return says(t, url, token) },
			secrets: []string{token},
		}
	}
}

// byNKey is a seed in a file.
func byNKey(t *testing.T) login {
	user, public := newNKey(t, nkeys.CreateUser)
	_, stranger := newNKey(t, nkeys.CreateUser)
	seed, err := user.Seed()
	must(t, err)
	file := filepath.Join(t.TempDir(), "user.nk")
	must(t, os.WriteFile(file, seed, 0o600))
	return login{
		asks:    func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
		asksFor: func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: stranger}} },
		says:    func(_ *testing.T, url string) []string { return []string{"NATS_URL", url, "NATS_NKEY", file} },
		secrets: []string{string(seed)},
	}
}

// byCredentials is a file with a JWT and the seed that proves it.
func byCredentials(t *testing.T) login {
	ours, theirs := newOperated(t), newOperated(t)
	file := filepath.Join(t.TempDir(), "user.creds")
	seed, userJWT := ours.issue(t, file, time.Now().Add(time.Hour))
	return login{
		asks: ours.asks, asksFor: theirs.asks,
		says:    func(_ *testing.T, url string) []string { return []string{"NATS_URL", url, "NATS_CREDS", file} },
		secrets: []string{seed, userJWT},
	}
}

// inContext writes a context of the NATS command line.
func inContext(t *testing.T, name string, fields map[string]string) {
	t.Helper()
	text, err := json.Marshal(fields)
	must(t, err)
	dir := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "nats", "context")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, name+".json"), text, 0o600))
}

func newNKey(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string) {
	t.Helper()
	pair, err := create()
	must(t, err)
	public, err = pair.PublicKey()
	must(t, err)
	return pair, public
}

// operated is a NATS in operator mode, with one account that may use JetStream and
// one user of it.
type operated struct {
	trusted       *jwt.OperatorClaims
	accounts      *server.MemAccResolver
	system        string
	account, user nkeys.KeyPair
}

func newOperated(t *testing.T) *operated {
	t.Helper()
	operator, operatorKey := newNKey(t, nkeys.CreateOperator)
	_, system := newNKey(t, nkeys.CreateAccount)
	account, accountKey := newNKey(t, nkeys.CreateAccount)
	user, _ := newNKey(t, nkeys.CreateUser)
	encoded, err := jwt.NewOperatorClaims(operatorKey).Encode(operator)
	must(t, err)
	trusted, err := jwt.DecodeOperatorClaims(encoded)
	must(t, err)
	o := &operated{trusted: trusted, accounts: &server.MemAccResolver{}, system: system, account: account, user: user}
	stores := jwt.NewAccountClaims(accountKey)
	stores.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	for key, claims := range map[string]*jwt.AccountClaims{accountKey: stores, system: jwt.NewAccountClaims(system)} {
		encoded, err := claims.Encode(operator)
		must(t, err)
		must(t, o.accounts.Store(key, encoded))
	}
	return o
}

// asks has a server want credentials of this operator's.
func (n *operated) asks(o *server.Options) {
	o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{n.trusted}, n.accounts, n.system
}

// issue writes the user's credentials into a file, and gives what must not be seen of
// them.
func (n *operated) issue(t *testing.T, file string, until time.Time) (seed, userJWT string) {
	t.Helper()
	key, err := n.user.PublicKey()
	must(t, err)
	claims := jwt.NewUserClaims(key)
	claims.Expires = until.Unix()
	userJWT, err = claims.Encode(n.account)
	must(t, err)
	text, err := n.user.Seed()
	must(t, err)
	creds, err := jwt.FormatUserConfig(userJWT, text)
	must(t, err)
	must(t, os.WriteFile(file, creds, 0o600))
	return string(text), userJWT
}

// loginWorld is a service that logs in to a NATS of its own, and all that was written
// by it and by commands that do the same.
type loginWorld struct {
	login
	t       *testing.T
	bus     *server.Server
	env     map[string]string
	folder  string // of the process
	store   string // of NATS
	log     lockedBuffer
	screens lockedBuffer
	admin   string
}

// serve starts NATS, on the port and the store of before.
func (w *loginWorld) serve(asks func(*server.Options)) {
	w.t.Helper()
	o := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: w.store, NoSigs: true, NoLog: true, MaxPayload: 8 << 20}
	if w.bus != nil {
		o.Port = port(w.bus)
		w.bus.Shutdown()
		w.bus.WaitForShutdown()
	}
	asks(&o)
	w.bus = started(w.t, &o)
}

// run runs a command line until it ends, or ctx does.
func (w *loginWorld) run(ctx context.Context, stdin string, out io.Writer, args ...string) exitCode {
	return run(ctx, args, func(name string) string { return w.env[name] }, strings.NewReader(stdin), out, out)
}

// command runs a command, and wants it to end as it should.
func (w *loginWorld) command(works bool, stdin, line string, more ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	var screen lockedBuffer
	code := w.run(ctx, stdin, &screen, append(strings.Fields(line), more...)...)
	if (code == exitOK) != works {
		w.t.Errorf("webhooks %s: exit code %d\n%s", line, code, screen.String())
	}
	_, _ = io.WriteString(&w.screens, screen.String())
	return screen.String()
}

// get asks the admin listener; nothing is answered while nobody listens.
func (w *loginWorld) get(path string) (status int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.admin+path, nil)
	must(w.t, err)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	_, _ = w.screens.Write(text)
	return resp.StatusCode, string(text)
}

// becomes waits until the service is ready, or is not.
func (w *loginWorld) becomes(want int) {
	w.t.Helper()
	within(w.t, func() string {
		if status, body := w.get("/readyz"); status != want {
			return fmt.Sprintf("/readyz answers %d, want %d: %s\n%s", status, want, body, w.log.String())
		}
		return ""
	})
}

// TestNoLoginToNATSIsInAnythingThatIsWritten logs in to NATS in each way there is,
// delivers, is refused for a while as one is when credentials change, and comes back,
// with commands beside it that do the same. Nothing of what proved who we are is in the
// log, metrics, screens or answers, nor in a file that the service, NATS or a backup
// has written.
func TestNoLoginToNATSIsInAnythingThatIsWritten(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // where contexts are
	for name, newLogin := range map[string]func(*testing.T) login{
		"a token in place of the user": byToken(func(_ *testing.T, url, token string) []string { return []string{"NATS_URL", url, "NATS_USER", token} }),
		"a token in the URL": byToken(func(_ *testing.T, url, token string) []string {
			return []string{"NATS_URL", strings.Replace(url, "://", "://"+token+"@", 1)}
		}),
		"a token in a context": byToken(func(t *testing.T, url, token string) []string {
			inContext(t, "with-a-token", map[string]string{"url": url, "token": token})
			return []string{"NATS_CONTEXT", "with-a-token"}
		}),
		"a token in a context's URL": byToken(func(t *testing.T, url, token string) []string {
			inContext(t, "with-a-url", map[string]string{"url": strings.Replace(url, "://", "://"+token+"@", 1)})
			return []string{"NATS_CONTEXT", "with-a-url"}
		}),
		"an NKey":            byNKey,
		"a credentials file": byCredentials,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			w := &loginWorld{login: newLogin(t), t: t, folder: t.TempDir(), store: t.TempDir()}
			w.live()
			all := leaktest.Plant(t, w.secrets...)
			all.In(t, "the log", []byte(w.log.String()))
			all.In(t, "what was shown or answered", []byte(w.screens.String()))
			for what, dir := range map[string]string{"the service": w.folder, "NATS": w.store} {
				if n := all.InFolder(t, dir); n < 2 {
					t.Errorf("searched %d files of %s", n, what)
				}
			}
		})
	}
}

// live goes through what may become of a login.
func (w *loginWorld) live() {
	t := w.t
	w.serve(w.asks)
	address, err := newPorts().free()
	must(t, err)
	w.admin = address
	ring, secret, backup := filepath.Join(w.folder, "ring.json"), filepath.Join(w.folder, "secret"), filepath.Join(w.folder, "backup")
	must(t, os.WriteFile(secret, []byte(plantedSecret), 0o600))
	w.env = map[string]string{
		"WEBHOOKS_ALLOW_INSECURE_ENDPOINTS": "true", "WEBHOOKS_ADMIN_LISTEN": address, "WEBHOOKS_KEYRING": ring, "WEBHOOKS_DATA_DIR": filepath.Join(w.folder, "data"),
	}
	said := w.says(t, w.bus.ClientURL())
	for i := 0; i < len(said); i += 2 {
		w.env[said[i]] = said[i+1]
	}
	w.command(true, "", "keys generate")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan exitCode, 1)
	go func() { ended <- w.run(ctx, "", &w.log, "run", "--log-level", "trace", "--log-format", "json") }()
	defer func() {
		stop()
		if code := <-ended; code != exitOK {
			t.Errorf("the service: exit code %d\n%s", code, w.log.String())
		}
	}()
	w.becomes(http.StatusOK)

	owner := &ownersServer{accepted: map[string]int{}}
	receiver := httptest.NewServer(owner)
	defer receiver.Close()
	w.command(true, "", "endpoint set s1", "--url", receiver.URL, "--secret-file", secret)
	w.command(true, string(event("s1", "r1")), "publish -")
	within(t, func() string {
		if !owner.has("r1") {
			return "the event is not delivered"
		}
		if out := w.command(true, "", "attempts --json"); !strings.Contains(out, `"r1"`) {
			return "the attempt is not in the delivery log"
		}
		return ""
	})
	for _, line := range []string{
		"config show", "config show --json", "status", "status --json", "doctor", "doctor --json", "provision", "endpoint list", "endpoint get s1", "endpoint test s1", "lanes",
		"why r1 --survey s1", "dead-letters list", "replay list", "backup " + backup,
	} {
		w.command(true, "", line)
	}
	w.get("/metrics")
	w.get("/version")

	w.serve(w.asksFor)
	w.becomes(http.StatusServiceUnavailable)
	within(t, func() string {
		if !bytes.Contains(bytes.ToLower([]byte(w.log.String())), []byte("authorization violation")) {
			return "nobody is told that NATS refuses us"
		}
		return ""
	})
	for _, line := range []string{"status", "status --json", "doctor", "doctor --json", "endpoint get s1", "provision", "run --admin-listen= "} {
		w.command(false, string(event("s1", "r2")), line)
	}
	w.serve(w.asks)
	w.becomes(http.StatusOK)
	w.command(true, string(event("s1", "r2")), "publish -")
	within(t, func() string {
		if !owner.has("r2") {
			return "NATS takes us again, and the next event is not delivered"
		}
		return ""
	})
}
