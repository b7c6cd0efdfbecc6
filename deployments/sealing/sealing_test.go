// Package sealing_test seals secrets in Node.js, as the platform does, and opens
// them as the service does.
package sealing_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/events"
)

const (
	keyring = "../../config/testdata/keyring.json"
	vectors = "../../config/testdata/sealed.json"
)

func ring(t *testing.T) *config.Keyring {
	t.Helper()
	b, err := os.ReadFile(keyring)
	if err != nil {
		t.Fatal(err)
	}
	r, err := config.ParseKeyring(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// node runs the script that the platform's people are given.
func node(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	if _, err := os.Stat("node/node_modules/@hpke/core"); err != nil {
		t.Fatal("NOT RUN: @hpke/core is not installed; run: bash deployments/receivers/setup.sh")
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"node/seal.mjs"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestWhatNodeSealsTheServiceOpens(t *testing.T) {
	r := ring(t)
	public, err := r.Public().Encode()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "public.json")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"x", "pässwörd 🔑", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", strings.Repeat("z", 512)} {
		var s config.SealedSecret
		if err := json.Unmarshal([]byte(node(t, plain+"\n", file, "s-1_A")), &s); err != nil {
			t.Fatal(err)
		}
		opened, err := r.Open("s-1_A", s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(opened.Reveal()); got != plain {
			t.Errorf("opened %q, want %q", got, plain)
		}
		if _, err := r.Open("another", s); err == nil {
			t.Error("what was sealed for one survey opens for another")
		}
	}
}

func TestNodeOpensTheVectors(t *testing.T) {
	if out := node(t, "", keyring, "--check", vectors); out != "all vectors open\n" {
		t.Errorf("got %q", out)
	}
}

// The page that describes sealing holds a vector, which must be the true one.
func TestThePageHoldsTheVector(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(keyring)
	if err != nil {
		t.Fatal(err)
	}
	v, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Keys []struct{ ID, Private, Public string }
	}
	var sealed []struct {
		Survey events.Survey
		Plain  string
		Sealed config.SealedSecret
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(v, &sealed); err != nil {
		t.Fatal(err)
	}
	first := sealed[0]
	for _, want := range []string{keys.Keys[0].ID, keys.Keys[0].Private, keys.Keys[0].Public, string(first.Survey), first.Plain, first.Sealed.Sealed} {
		if !strings.Contains(string(page), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
}
