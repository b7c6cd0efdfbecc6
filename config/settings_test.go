package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/popsee/webhooks/config"
)

// cli is a program with settings and a flag of its own.
type cli struct {
	Settings config.Settings `embed:""`

	Run struct {
		Count int `name:"count"`
	} `cmd:""`
	Other struct{} `cmd:""`
}

func parse(t *testing.T, env map[string]string, args ...string) (config.Settings, error) {
	t.Helper()
	var c cli
	options := append(config.Options(func(k string) string { return env[k] }), kong.Name("webhooks"), kong.Exit(func(int) {}))
	k, err := kong.New(&c, options...)
	check(t, err)
	_, err = k.Parse(append([]string{"run"}, args...))
	return c.Settings, err
}

func mustParse(t *testing.T, env map[string]string, args ...string) config.Settings {
	t.Helper()
	s, err := parse(t, env, args...)
	check(t, err)
	return s
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "webhooks.yaml")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	s := mustParse(t, nil)
	check(t, s.Validate())
	want := config.Settings{
		Embedded: config.EmbeddedSettings{DataDir: "./webhooks-data", Listen: "127.0.0.1:4222", MaxStore: 10 << 30},
		Bus:      config.BusSettings{History: 30 * 24 * time.Hour},
		Delivery: config.DeliverySettings{MaxInFlight: 2000, MaxEndpoints: 2_000_000, AckWait: 30 * time.Second, DisableAfter: 120 * time.Hour, EventMaxBytes: 1 << 20},
		Admin:    config.AdminSettings{Listen: "127.0.0.1:8080"},
		Log:      config.LogSettings{Level: "info", Format: "auto"},
	}
	if diff := cmp.Diff(want, s, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if s.NATS.External() {
		t.Error("external without an address")
	}
	path, create := s.KeyringPath()
	if path != filepath.Join("webhooks-data", "keyring.json") || !create {
		t.Errorf("key ring %s, made: %v", path, create)
	}
}

func TestFlagsBeatEnvironmentBeatsFileBeatsDefaults(t *testing.T) {
	file := yamlFile(t, "max-in-flight: 10\nack_wait: 1m\nlog-level: debug\nlisten: 127.0.0.1:1\n")
	env := map[string]string{
		"WEBHOOKS_CONFIG": file, "WEBHOOKS_MAX_IN_FLIGHT": "20", "WEBHOOKS_ACK_WAIT": "2m", "WEBHOOKS_LISTEN": "",
	}
	s := mustParse(t, env, "--max-in-flight=30")
	for name, c := range map[string]struct{ got, want any }{
		"flag":                     {s.Delivery.MaxInFlight, 30},
		"environment":              {s.Delivery.AckWait, 2 * time.Minute},
		"file":                     {s.Log.Level, "debug"},
		"file, the variable empty": {s.Embedded.Listen, "127.0.0.1:1"},
		"default":                  {s.Admin.Listen, "127.0.0.1:8080"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
	other := yamlFile(t, "max-in-flight: 40")
	if got := mustParse(t, env, "--config", other); got.Log.Level != "info" || got.Delivery.MaxInFlight != 20 {
		t.Errorf("--config does not beat WEBHOOKS_CONFIG: %+v", got)
	}
}

func TestTheProcessEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("WEBHOOKS_MAX_IN_FLIGHT", "77")
	t.Setenv("NATS_URL", "nats://elsewhere")
	s := mustParse(t, nil)
	if s.Delivery.MaxInFlight != 2000 || s.NATS.External() {
		t.Errorf("%+v", s)
	}
}

func TestAFileMayNestAndList(t *testing.T) {
	s := mustParse(t, nil, "--config", yamlFile(t, `
# a comment
nats:
  url: nats://a:4222,nats://b:4222
  creds: /run/secrets/nats.creds
keyring: /run/secrets/keyring.json
allow: [10.0.0.0/8, "fd00::/8"]
allow_insecure_endpoints: true
max_store: 1GiB
replicas: 3
`))
	check(t, s.Validate())
	if s.NATS.URL != "nats://a:4222,nats://b:4222" || s.NATS.Creds != "/run/secrets/nats.creds" || s.Bus.Replicas != 3 {
		t.Errorf("%+v", s)
	}
	if got := fmt.Sprint(s.Delivery.Rules()); got != "{true [10.0.0.0/8 fd00::/8]}" {
		t.Errorf("rules %s", got)
	}
	if s.Embedded.MaxStore != 1<<30 {
		t.Errorf("max store %v", s.Embedded.MaxStore)
	}
	if path, create := s.KeyringPath(); path != "/run/secrets/keyring.json" || create {
		t.Errorf("key ring %s, made: %v", path, create)
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, says, hint string }{
		"unknown key":   {"max-inflight: 3", `unknown setting "max-inflight"`, `"max-in-flight"`},
		"unknown group": {"nats: {ulr: x}", `unknown setting "nats-ulr"`, `"nats-url"`},
		"own flag":      {"count: 3", `unknown setting "count"`, ""},
		"file in file":  {"config: other.yaml", `unknown setting "config"`, ""},
		"key twice":     {"listen: a\nlisten: b", "line 2", ""},
		"both forms":    {"max_store: 1GiB\nmax-store: 1GiB", "max-store is there twice", ""},
		"not YAML":      {"a: [", "line 1", ""},
		"not a mapping": {"- a", "not valid YAML", ""},
		"wrong type":    {"max-in-flight: many", "--max-in-flight", ""},
		"secret quoted": {"nats-password: hunter2\nnats-password: hunter2", "line 2", ""},
		"too large":     {"# " + strings.Repeat("x", 1<<20), "larger than 1MiB", ""},
	} {
		_, err := parse(t, nil, "--config", yamlFile(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", name, err, c.says)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: quotes a password: %v", name, err)
		}
		var hinted interface{ Hint() string }
		if c.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), c.hint)) {
			t.Errorf("%s: no hint at %s", name, c.hint)
		}
	}
	if _, err := parse(t, nil, "--config", "/does/not/exist.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// Commands have flags of their own that are called like a setting.
func TestAFlagOfTheSameNameIsNoSetting(t *testing.T) {
	var c struct {
		Run struct {
			config.Settings `embed:""`
		} `cmd:""`
		Demo struct {
			config.Settings `embed:""`
		} `cmd:""`
		Set struct {
			MaxInFlight int    `name:"max-in-flight"`
			Config      string `name:"configuration"`
		} `cmd:""`
	}
	env := map[string]string{"WEBHOOKS_MAX_IN_FLIGHT": "20", "WEBHOOKS_CONFIG": yamlFile(t, "max-in-flight: 10\nack-wait: 1m")}
	for _, command := range []string{"run", "demo", "set"} {
		options := append(config.Options(func(k string) string { return env[k] }), kong.Name("webhooks"))
		k, err := kong.New(&c, options...)
		check(t, err)
		_, err = k.Parse([]string{command})
		check(t, err)
		run, demo, set := c.Run.Delivery, c.Demo.Delivery, c.Set.MaxInFlight
		if set != 0 {
			t.Errorf("%s: the command's own flag is %d", command, set)
		}
		if command == "run" && (run.MaxInFlight != 20 || run.AckWait != time.Minute) {
			t.Errorf("run: %+v", run)
		}
		if command == "demo" && (demo.MaxInFlight != 20 || demo.AckWait != time.Minute) {
			t.Errorf("demo: %+v", demo)
		}
	}
}

func TestAnEmptyFileChangesNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		if diff := cmp.Diff(mustParse(t, nil).Embedded, mustParse(t, nil, "--config", yamlFile(t, text)).Embedded); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := parse(t, nil, "--nats-url=http://x,nats://u:hunter2@y", "--nats-cert=c", "--replicas=2", "--max-in-flight=0",
		"--ack-wait=1s", "--disable-after=59m", "--event-max-bytes=100MiB", "--allow=0.0.0.0/0", "--admin-listen=nowhere", "--log-level=loud",
		"--log-format=xml", "--max-store=1KiB", "--prefix=a.b", "--listen=x:y", "--data-dir=", "--nats-password=hunter2",
		"--history=1s")
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("%v is no list of faults", err)
	}
	for _, flag := range []string{
		"nats-url", "nats-cert", "replicas", "max-in-flight", "ack-wait", "disable-after", "event-max-bytes", "allow", "admin-listen", "log-level",
		"log-format", "max-store", "prefix", "listen", "data-dir", "nats-password", "history",
	} {
		if !strings.Contains(err.Error(), "--"+flag) {
			t.Errorf("nothing is said of --%s", flag)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is quoted: %v", err)
	}
	if hint := faults.Hint(); !strings.Contains(hint, "nats://") {
		t.Errorf("hint %q", hint)
	}
}

func TestCredentialsNeedAnAddress(t *testing.T) {
	if mustParse(t, map[string]string{"NATS_CREDS": "x"}).NATS.CheckUsed() == nil {
		t.Error("credentials for nobody are accepted")
	}
	check(t, mustParse(t, map[string]string{"NATS_CREDS": "x", "NATS_URL": "nats://a"}).NATS.CheckUsed())
	check(t, mustParse(t, nil).NATS.CheckUsed())
}

func TestPasswordsDoNotShow(t *testing.T) {
	s := mustParse(t, map[string]string{
		"NATS_URL": "nats://u:hunter2@a:4222, b:4222,tok-hunter2@c", "NATS_USER": "u", "NATS_PASSWORD": "hunter2",
	})
	if s.NATS.Password.Reveal() != "hunter2" {
		t.Error("the password is lost")
	}
	b, err := json.Marshal(s.NATS.Password)
	check(t, err)
	text := fmt.Sprintf("%v %+v %#v %s", s.NATS.Password, s.NATS.Password, s.NATS.Password, b) + s.NATS.Redacted()
	if strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	if got, want := s.NATS.Redacted(), "nats://***@a:4222,b:4222,***@c"; got != want {
		t.Errorf("redacted %s, want %s", got, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"0": 0, "1048576": 1 << 20, "512KiB": 512 << 10, "10 MB": 10_000_000, "2g": 2 << 30, "7B": 7, "1tib": 1 << 40,
	} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q is %d (%v), want %d", text, b, err, want)
		}
		var again config.Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%d is written as %s and read as %d", b, b, again)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "GiB", "1XB", "9999999TiB", "10 20"} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, b)
		}
	}
}

func TestEverySettingHasAVariableAndAHelp(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(s reflect.Type) {
		for f := range s.Fields() {
			if _, group := f.Tag.Lookup("embed"); group {
				walk(f.Type)
				continue
			}
			for _, tag := range []string{"name", "env", "help"} {
				if f.Tag.Get(tag) == "" {
					t.Errorf("%s.%s has no %s", s.Name(), f.Name, tag)
				}
			}
		}
	}
	walk(reflect.TypeFor[config.Settings]())
}

func TestHelpNamesVariablesAndDefaults(t *testing.T) {
	var c cli
	var out strings.Builder
	options := append(config.Options(func(string) string { return "" }), kong.Name("webhooks"),
		kong.Writers(&out, &out), kong.Exit(func(int) { panic("help") }))
	k, err := kong.New(&c, options...)
	check(t, err)
	func() {
		defer func() { _ = recover() }()
		_, _ = k.Parse([]string{"run", "--help"})
	}()
	for _, want := range []string{"$NATS_URL", "$WEBHOOKS_MAX_IN_FLIGHT", "2000", "Embedded NATS server"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not show %s", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestReplicaCount(t *testing.T) {
	for _, c := range []struct {
		set       int
		clustered bool
		want      int
	}{{0, false, 1}, {0, true, 3}, {5, true, 5}, {1, true, 1}} {
		if got := (config.BusSettings{Replicas: c.set}).ReplicaCount(c.clustered); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

func TestLogSettings(t *testing.T) {
	for _, c := range []struct {
		format   string
		terminal bool
		want     bool
	}{{"auto", true, true}, {"auto", false, false}, {"json", true, false}, {"console", false, true}} {
		if got := (config.LogSettings{Format: c.format}).Console(c.terminal); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	if got := (config.LogSettings{Level: "warn"}).ZerologLevel().String(); got != "warn" {
		t.Errorf("level %s", got)
	}
}

// FuzzSettingsFile checks that no file makes the parser panic.
func FuzzSettingsFile(f *testing.F) {
	for _, text := range []string{"a: 1", "nats: {url: x}", "- a", "a: &a [*a]", "? {a: b}\n: c", "1: 2", "listen: 2026-01-01", "a:\n  - b: c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(t, nil, "--config", yamlFile(t, text))
		if err == nil {
			_ = s.Validate()
		}
	})
}

func TestTheAdminListenerLeavesThisMachineOnlyWithAToken(t *testing.T) {
	for listen, c := range map[string]struct {
		token config.Password
		ok    bool
	}{
		"127.0.0.1:8080":  {"", true},
		"[::1]:8080":      {"", true},
		"localhost:8080":  {"", true},
		"":                {"", true},
		"0.0.0.0:8080":    {"", false},
		":8080":           {"", false},
		"10.0.0.7:8080":   {"", false},
		"0.0.0.0:8081":    {"a token of some length", true},
		"127.0.0.1:8081":  {"short", false},
		"example.com:443": {"", false},
	} {
		s := mustParse(t, nil)
		s.Admin = config.AdminSettings{Listen: listen, Token: c.token}
		err := s.Validate()
		if (err == nil) != c.ok {
			t.Errorf("%q with a token of %d bytes: %v", listen, len(c.token.Reveal()), err)
		}
		if err != nil && c.token != "" && strings.Contains(err.Error(), c.token.Reveal()) {
			t.Error("the token is in the error")
		}
	}
}
