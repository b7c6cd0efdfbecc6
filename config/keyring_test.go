package config_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

func reveal(t testing.TB, ring *config.Keyring, survey events.Survey, s config.SealedSecret) string {
	t.Helper()
	secret, err := ring.Open(survey, s)
	check(t, err)
	return string(secret.Reveal())
}

// What was sealed by any earlier version must open for ever: the files hold a
// key ring and secrets sealed with its public half.
func TestWhatWasSealedOnceOpensForEver(t *testing.T) {
	b, err := os.ReadFile("testdata/keyring.json")
	check(t, err)
	ring, err := config.ParseKeyring(b)
	check(t, err)
	b, err = os.ReadFile("testdata/sealed.json")
	check(t, err)
	var vectors []struct {
		Survey events.Survey       `json:"survey"`
		Plain  string              `json:"plain"`
		Sealed config.SealedSecret `json:"sealed"`
	}
	check(t, json.Unmarshal(b, &vectors))
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		if got := reveal(t, ring, v.Survey, v.Sealed); got != v.Plain {
			t.Errorf("survey %s: opened %q, want %q", v.Survey, got, v.Plain)
		}
	}
}

func TestSealAndOpen(t *testing.T) {
	ring := newRing(t)
	public, err := ring.Public().Encode()
	check(t, err)
	platform, err := config.ParsePublicKeyring(public)
	check(t, err)
	for _, plain := range []string{"x", plainSecret, "pässwörd 🔑", strings.Repeat("z", 512)} {
		for name, sealer := range map[string]config.Sealer{"private ring": ring, "public ring": platform} {
			s := sealed(t, sealer, "s1", plain)
			if got := reveal(t, ring, "s1", s); got != plain {
				t.Errorf("%s: opened %q, want %q", name, got, plain)
			}
		}
	}
	a, b := sealed(t, ring, "s1", "same"), sealed(t, ring, "s1", "same")
	if a.Sealed == b.Sealed {
		t.Error("sealing the same secret twice shows that it is the same")
	}
}

func TestWhatDoesNotOpenIsOurFault(t *testing.T) {
	ring, other := newRing(t), newRing(t)
	good := sealed(t, ring, "s1", plainSecret)
	changed := good
	changed.Sealed = strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'B'
		}
		return 'A'
	}, good.Sealed[:40]) + good.Sealed[40:]
	foreign := sealed(t, other, "s1", plainSecret)
	mislabelled := foreign
	mislabelled.KeyID = good.KeyID
	for name, c := range map[string]struct {
		survey events.Survey
		sealed config.SealedSecret
		says   string
	}{
		"another survey": {"s2", good, good.KeyID},
		"changed":        {"s1", changed, good.KeyID},
		"missing key":    {"s1", foreign, foreign.KeyID},
		"mislabelled":    {"s1", mislabelled, good.KeyID},
		"not base64":     {"s1", config.SealedSecret{KeyID: good.KeyID, Sealed: plainSecret}, "base64"},
		"empty":          {"s1", config.SealedSecret{}, "not in the ring"},
		"hostile key id": {"s1", config.SealedSecret{KeyID: "\x1b[2J" + strings.Repeat("x", 9999)}, "?[2J"},
	} {
		_, err := ring.Open(c.survey, c.sealed)
		wantError(t, err, config.ErrUnsealable)
		if !strings.Contains(err.Error(), c.says) || len(err.Error()) > 300 {
			t.Errorf("%s: %q does not say %q", name, err, c.says)
		}
		wantNoSecret(t, err.Error())
	}
}

func TestRotationKeepsOldSecretsAndResealsThem(t *testing.T) {
	old := newRing(t)
	before := sealed(t, old, "s1", plainSecret)
	key, err := config.GenerateKey()
	check(t, err)
	both, err := old.Rotate(key)
	check(t, err)
	if got := reveal(t, both, "s1", before); got != plainSecret {
		t.Errorf("opened %q", got)
	}
	after, err := both.Reseal("s1", before)
	check(t, err)
	if after.KeyID != key.ID {
		t.Errorf("resealed with %s, want %s", after.KeyID, key.ID)
	}
	alone, err := both.Remove(before.KeyID)
	check(t, err)
	if got := reveal(t, alone, "s1", after); got != plainSecret {
		t.Errorf("opened %q", got)
	}
	_, err = alone.Open("s1", before)
	wantError(t, err, config.ErrUnsealable)
	same, err := alone.Reseal("s1", after)
	check(t, err)
	if same != after {
		t.Error("resealed what needs no resealing")
	}
	if _, err := alone.Remove(key.ID); err == nil {
		t.Error("the last key was removed")
	}
	if _, err := alone.Remove("0123456789abcdef"); err == nil {
		t.Error("a key was removed that is not there")
	}
	if _, err := alone.Rotate(key); err == nil {
		t.Error("a key is in the ring twice")
	}
}

func TestARingNeverTellsItsKeys(t *testing.T) {
	ring := newRing(t)
	encoded, err := ring.Encode()
	check(t, err)
	var file struct {
		Keys []struct{ Private string }
	}
	check(t, json.Unmarshal(encoded, &file))
	private := file.Keys[0].Private
	raw, err := base64.StdEncoding.DecodeString(private)
	check(t, err)
	if len(raw) < 32 {
		t.Fatalf("the file holds no private key: %s", encoded)
	}
	secrets := leaktest.Plant(t, private, string(raw))
	key := ring.Keys()[0]
	asJSON, err := json.Marshal(map[string]any{"ring": ring, "key": key})
	check(t, err)
	public, err := ring.Public().Encode()
	check(t, err)
	var log strings.Builder
	logger := zerolog.New(&log)
	logger.Info().Interface("ring", ring).Interface("key", key).Stringer("ring", ring).Send()
	for name, text := range map[string]string{
		"format":     fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", ring, ring, ring, ring, key, key, key, key),
		"JSON":       string(asJSON),
		"public":     string(public),
		"log":        log.String(),
		"public ids": fmt.Sprint(ring.Public().IDs()),
	} {
		secrets.In(t, name, []byte(text))
		if !strings.Contains(text, key.ID) {
			t.Errorf("%s does not name the key: %s", name, text)
		}
	}
	for name, value := range map[string]any{"the ring": ring, "the key": key, "the public ring": ring.Public()} {
		secrets.InValue(t, name, value)
	}
}

func TestBadRingsAreRefusedWithoutBeingQuoted(t *testing.T) {
	encoded, err := newRing(t).Encode()
	check(t, err)
	good := string(encoded)
	public, err := newRing(t).Public().Encode()
	check(t, err)
	for name, text := range map[string]string{
		"empty":       "",
		"no keys":     `{"keys":[]}`,
		"public ring": string(public),
		"not JSON":    plainSecret,
		"unknown":     `{"keys":[],"secret":"` + plainSecret + `"}`,
		"wrong type":  `{"keys":["` + plainSecret + `"]}`,
		"not base64":  `{"keys":[{"id":"0123456789abcdef","private":"` + plainSecret + `","public":""}]}`,
		"too short":   `{"keys":[{"id":"0123456789abcdef","private":"QUJD","public":""}]}`,
		"other id":    strings.Replace(good, `"id": "`, `"id": "0`, 1),
		"truncated":   good[:len(good)/2],
	} {
		_, err := config.ParseKeyring([]byte(text))
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		wantNoSecret(t, err.Error())
	}
	if _, err := config.ParsePublicKeyring(encoded); err == nil {
		t.Error("a private ring is taken for a public one")
	}
	for name, text := range map[string]string{
		"no keys":    `{"keys":[]}`,
		"not base64": `{"keys":[{"id":"0123456789abcdef","public":"!"}]}`,
		"too short":  `{"keys":[{"id":"0123456789abcdef","public":"QUJD"}]}`,
		"other id":   strings.Replace(string(public), `"id": "`, `"id": "0`, 1),
		"not JSON":   `[`,
	} {
		if _, err := config.ParsePublicKeyring([]byte(text)); err == nil {
			t.Errorf("public: %s is accepted", name)
		}
	}
}

func TestTheFirstStartMakesARing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "keyring.json")
	ring, created, err := config.LoadOrCreateKeyring(path)
	check(t, err)
	if !created {
		t.Error("not said to be new")
	}
	info, err := os.Stat(path)
	check(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %04o, want 0600", got)
	}
	again, created, err := config.LoadOrCreateKeyring(path)
	check(t, err)
	if created || again.String() != ring.String() {
		t.Errorf("the second start has %v (new: %v), want %v", again, created, ring)
	}
	wantError(t, config.CreateKeyring(path, newRing(t)), fs.ErrExist)
	key, err := config.GenerateKey()
	check(t, err)
	rotated, err := ring.Rotate(key)
	check(t, err)
	check(t, config.ReplaceKeyring(path, rotated))
	loaded, err := config.LoadKeyring(path)
	check(t, err)
	if loaded.String() != rotated.String() {
		t.Errorf("loaded %v, want %v", loaded, rotated)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	check(t, err)
	if len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestStartsAtTheSameTimeShareOneRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	var mu sync.Mutex
	var wg sync.WaitGroup
	made, rings := 0, map[string]bool{}
	for range 32 {
		wg.Go(func() {
			ring, created, err := config.LoadOrCreateKeyring(path)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			rings[ring.String()] = true
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if len(rings) != 1 || made != 1 {
		t.Errorf("%d rings, %d of them new; want one", len(rings), made)
	}
}

func TestARingThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	check(t, config.CreateKeyring(path, newRing(t)))
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o644} {
		check(t, os.Chmod(path, mode))
		_, err := config.LoadKeyring(path)
		var hinted interface{ Hint() string }
		if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "chmod 600") {
			t.Errorf("mode %04o: %v, want a refusal that hints at chmod", mode, err)
		}
		if _, _, err := config.LoadOrCreateKeyring(path); err == nil {
			t.Errorf("mode %04o: accepted, or replaced", mode)
		}
	}
	check(t, os.Chmod(path, 0o400))
	_, err := config.LoadKeyring(path)
	check(t, err)
}

func TestADamagedRingIsNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	check(t, os.WriteFile(path, []byte(`{"keys":[`), 0o600))
	if _, _, err := config.LoadOrCreateKeyring(path); err == nil {
		t.Error("accepted")
	}
	b, err := os.ReadFile(path)
	check(t, err)
	if string(b) != `{"keys":[` {
		t.Errorf("the file is now %q", b)
	}
}

func ExampleKeyring_Public() {
	key, err := config.GenerateKey()
	if err != nil {
		panic(err)
	}
	ring, err := config.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	secret, err := delivery.NewSecret("a shared secret")
	if err != nil {
		panic(err)
	}
	// Whoever writes endpoints holds the public ring, and cannot read back.
	sealed, err := ring.Public().Seal("550e8400-e29b-41d4-a716-446655440000", secret)
	if err != nil {
		panic(err)
	}
	opened, err := ring.Open("550e8400-e29b-41d4-a716-446655440000", sealed)
	fmt.Println(opened, err, string(opened.Reveal()))
	// Output: secret(...) <nil> a shared secret
}
