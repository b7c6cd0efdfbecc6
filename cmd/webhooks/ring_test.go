package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/popsee/webhooks/config"
)

// A ring may come as a variable's value, where secrets are given that way: the
// service opens with it, and so does its admin API.
func TestTheRingMayComeFromTheEnvironment(t *testing.T) {
	file := newRing(t)
	text, err := os.ReadFile(file)
	must(t, err)
	ring, err := config.LoadKeyring(file)
	must(t, err)
	var log lockedBuffer
	env := map[string]string{"WEBHOOKS_KEYRING_JSON": string(text)}
	if code := run(t.Context(), []string{"keys", "list"}, func(name string) string { return env[name] }, strings.NewReader(""), &log, &log); code != exitOK || !strings.Contains(log.String(), ring.IDs()[0]) {
		t.Errorf("keys list: exit %d\n%s", code, &log)
	}
	v := &service{settings: testSettings(t.TempDir())}
	v.settings.NATS.URL, v.settings.Keys.Inline = "nats://127.0.0.1", config.Password(text)
	must(t, v.openKeys(t.Context()))
	now, err := v.ringNow()
	must(t, err)
	for _, got := range []*config.Keyring{v.keys, now} {
		if !slices.Equal(got.IDs(), ring.IDs()) {
			t.Errorf("the keys are %v, want %v", got, ring)
		}
	}
}
