package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/popsee/webhooks/delivery/leaktest"
)

// answerTo is what the program says to a command line that it refuses.
func answerTo(t *testing.T, env map[string]string, args ...string) (text string, code exitCode) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), args, func(name string) string { return env[name] }, strings.NewReader(""), &out, &out)
	return out.String(), code
}

func TestACredentialThatCannotBeReadIsNotQuoted(t *testing.T) {
	const credential = "planted-credential-4711"
	for name, args := range map[string][]string{
		"a header without =":                      {"endpoint", "set", "s1", "--header", credential},
		"the same in one word":                    {"endpoint", "set", "s1", "--header=Authorization:" + credential},
		"the second of two headers":               {"endpoint", "set", "s1", "--header", "A=b;" + credential},
		"a header whose quotes were forgotten":    {"endpoint", "set", "s1", "--header", "Authorization=Bearer", credential},
		"a password with a blank":                 {"status", "--nats-password", "half", credential},
		"a header that begins with a minus":       {"endpoint", "set", "s1", "--header", "-" + credential},
		"a header that looks like a number":       {"endpoint", "set", "s1", "--header", "-4711" + credential},
		"a URL of NATS that is none":              {"status", "--nats-url", "nats://me:" + credential + " @127.0.0.1:1"},
		"a URL of NATS with half a password":      {"status", "--nats-url", "nats://me:" + credential + ",rest@127.0.0.1:1"},
		"a URL of NATS with a @ in the password":  {"status", "--nats-url", "nats://me:p@" + credential + "@127.0.0.1:1"},
		"a token in the URL of NATS":              {"status", "--nats-url", "nats://" + credential + "@127.0.0.1:1"},
		"settings with such a URL":                {"run", "--nats-url", "http://me:" + credential + "@127.0.0.1:1"},
		"an admin token that nobody reads aloud":  {"run", "--admin-listen", "x", "--admin-token", credential},
		"a key ring that is none":                 {"run", "--keyring-json", credential, "--data-dir", t.TempDir(), "--listen", "", "--admin-listen", ""},
		"an endpoint's URL with a user and a sum": {"doctor", "--nats-url", "nats://127.0.0.1:1", "--url", "https://me:" + credential + "@example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			text, code := answerTo(t, nil, args...)
			if code == exitOK || !strings.Contains(text, "error: ") {
				t.Errorf("exit code %d: %s", code, text)
			}
			leaktest.Plant(t, credential).In(t, "what was said", []byte(text))
		})
	}
}

// A seed is what an NKey's file holds; some give it in place of the file's name.
func TestASeedInPlaceOfItsFileIsNotQuoted(t *testing.T) {
	seed := "SUA" + strings.Repeat("ABCDEFG", 8)[:55]
	text, code := answerTo(t, nil, "status", "--nats-nkey", seed)
	if code == exitOK || !strings.Contains(text, "this is a seed itself") {
		t.Errorf("exit code %d: %s", code, text)
	}
	leaktest.Plant(t, seed).In(t, "what was said", []byte(text))
}

func TestHeadersAreReadAsBefore(t *testing.T) {
	var c commands
	parser := newParserInto(t, &c)
	if _, err := parser.Parse([]string{"endpoint", "set", "s1", "--header", "A=1;B=x=y", "--header=C=a\\;b"}); err != nil {
		t.Fatal(err)
	}
	if h := c.Endpoint.Set.Header; len(h) != 3 || h["A"] != "1" || h["B"] != "x=y" || h["C"] != "a;b" {
		t.Errorf("got %q", h)
	}
}

func TestConfigShowHidesWhoeverAsksNATS(t *testing.T) {
	const token, password = "planted-nats-token", "planted-nats-password"
	seed := "SUA" + strings.Repeat("ABCDEFG", 8)[:55]
	all := leaktest.Plant(t, token, password, seed)
	for name, c := range map[string]struct {
		env   map[string]string
		shows string
	}{
		"a token given as user":             {map[string]string{"NATS_URL": "nats://a", "NATS_USER": token}, "token(...)"},
		"a user with a password":            {map[string]string{"NATS_URL": "nats://a", "NATS_USER": "platform", "NATS_PASSWORD": password}, "platform"},
		"a token in the URL":                {map[string]string{"NATS_URL": "nats://" + token + "@nats-0:4222"}, "nats://***@nats-0:4222"},
		"a user and a password in the URL":  {map[string]string{"NATS_URL": "nats://me:" + password + "@nats-0:4222,tls://nats-1"}, "nats://***@nats-0:4222,tls://nats-1"},
		"a password with a comma and a @":   {map[string]string{"NATS_URL": "nats://me:a," + password + "@b@nats-0"}, "a server address is not a URL"},
		"a token in the monitoring address": {map[string]string{"NATS_URL": "nats://a", "WEBHOOKS_NATS_MONITOR": "http://me:" + password + "@nats-0:8222?key=" + token}, "http://***@nats-0:8222"},
		"a seed in place of its file":       {map[string]string{"NATS_URL": "nats://a", "NATS_NKEY": seed}, "seed(...)"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, form := range [][]string{{"config", "show"}, {"config", "show", "--json"}} {
				text, _ := answerTo(t, c.env, form...)
				if !strings.Contains(text, c.shows) {
					t.Errorf("%q is not in\n%s", c.shows, text)
				}
				all.In(t, "what was shown", []byte(text))
			}
		})
	}
}
