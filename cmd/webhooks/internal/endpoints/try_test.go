package endpoints

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

// An expired secret may be sealed with a key that was removed since: it keeps
// nothing from being sent, here as in the service.
func TestATestNeedsNoKeyOfAnExpiredSecret(t *testing.T) {
	sealed := func(ring *config.Keyring) config.SealedSecret {
		secret, err := delivery.NewSecret("a secret")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ring.Seal("s1", secret)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	now, gone := newRing(t), newRing(t)
	old, past := sealed(gone), time.Now().Add(-time.Minute)
	ep := config.Endpoint{Survey: "s1", URL: "https://example.com/hook", Secrets: []config.SealedSecret{sealed(now), old}}
	trial := Trial{Keys: func() (*config.Keyring, error) { return now, nil }}
	if _, err := trial.target(ep); err == nil {
		t.Error("a secret that signs was left out")
	}
	ep.Secrets[1].ExpiresAt = &past
	if _, err := trial.target(ep); err != nil {
		t.Error(err)
	}
}

func newRing(t *testing.T) *config.Keyring {
	t.Helper()
	key, err := config.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := config.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
