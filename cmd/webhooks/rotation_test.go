package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// stale is how long ago a secret may have been replaced that still signs: an
// attempt bears what was live as it began, and the other replica hears of a
// rotation a moment later.
const stale = 10 * time.Second

// rotatingOwner is a receiver that knows every secret it was given, and refuses
// what the newest one and those of the overlap have not signed.
type rotatingOwner struct {
	t  *testing.T
	mu sync.Mutex // guards the rest

	secrets  []given      // newest first
	signers  map[int]bool // the secrets that have signed, by when they came
	accepted map[string]int
}

type given struct {
	secret   delivery.Secret
	standard *standardwebhooks.Webhook
	replaced time.Time // zero for the newest
}

func (o *rotatingOwner) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		o.t.Error(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if why := o.refuses(req.Header, body); why != "" {
		o.t.Error(why)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	o.accepted[req.Header.Get(delivery.HeaderDelivery)]++
}

func (o *rotatingOwner) refuses(h http.Header, body []byte) string {
	signed := slices.IndexFunc(o.secrets, func(g given) bool {
		return delivery.Verify(g.secret, h.Get(delivery.HeaderSignature), body) == nil
	})
	if signed < 0 {
		return "no secret there ever was has signed a request"
	}
	if g := o.secrets[signed]; !g.replaced.IsZero() && time.Since(g.replaced) > stale {
		return fmt.Sprintf("a request is signed by a secret that was replaced %s ago", time.Since(g.replaced))
	}
	o.signers[len(o.secrets)-signed] = true
	// The one that signs, and every one of the overlap at that time: the receiver may know any of them alone.
	overlap := o.secrets[signed:min(signed+config.MaxSecrets, len(o.secrets))]
	for i, g := range overlap {
		if err := g.standard.Verify(body, h); err != nil {
			return fmt.Sprintf("secret %d of the overlap does not verify: %v", i, err)
		}
	}
	return ""
}

// learn takes a new secret, as an owner does before it is used.
func (o *rotatingOwner) learn(text string) {
	secret, err := delivery.NewSecret(text)
	if err != nil {
		o.t.Fatal(err)
	}
	standard, err := standardwebhooks.NewWebhook(text)
	if err != nil {
		o.t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.secrets) > 0 {
		o.secrets[0].replaced = time.Now()
	}
	o.secrets = append([]given{{secret: secret, standard: standard}}, o.secrets...)
}

// A thousand rotations while two replicas deliver: nothing is sent that the newest
// secret or one of the overlap has not signed, and nothing is lost.
func TestAThousandRotationsUnderLoad(t *testing.T) {
	const rotations = 1000
	published := 0
	bus := externalNATS(t, &server.Options{})
	s := testSettings(t.TempDir())
	s.NATS.URL, s.Keys.Ring = bus.ClientURL(), newRing(t)
	var replicas []*service
	for range 2 {
		v, err := openService(t.Context(), s, noEnv, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(running(t, v))
		replicas = append(replicas, v)
	}
	owner := &rotatingOwner{t: t, signers: map[int]bool{}, accepted: map[string]int{}}
	receiver := httptest.NewServer(owner)
	t.Cleanup(receiver.Close)
	v := replicas[0]
	ep := config.Endpoint{Survey: "s1", URL: receiver.URL, Enabled: true}
	rotate := func() {
		text := "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()))
		secret, err := delivery.NewSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := v.keys.Seal(ep.Survey, secret)
		if err != nil {
			t.Fatal(err)
		}
		owner.learn(text)
		ep.Secrets = append([]config.SealedSecret{sealed}, overlapping(ep.Secrets, time.Hour, time.Now())...)
		if ep, err = v.store.Put(t.Context(), ep); err != nil {
			t.Fatal(err)
		}
	}
	rotate()
	rotated := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		pub := events.NewPublisher(v.js, events.PublisherOptions{})
		for ended := false; !ended; published++ { // for as long as there are rotations, and once more
			select {
			case <-rotated:
				ended = true
			default:
			}
			if _, err := pub.Publish(t.Context(), event("s1", fmt.Sprint("r", published))); err != nil {
				t.Error(err)
			}
		}
	})
	for range rotations {
		rotate()
	}
	close(rotated)
	publishing.Wait()
	waitSettled(t, v)
	within(t, func() string {
		owner.mu.Lock()
		defer owner.mu.Unlock()
		if len(owner.accepted) != published {
			return fmt.Sprintf("%d of %d events were accepted", len(owner.accepted), published)
		}
		return ""
	})
	if n := len(owner.signers); n < rotations/20 {
		t.Errorf("%d secrets have signed something: the others were never used", n)
	}
	t.Logf("%d events, signed by %d secrets of %d", published, len(owner.signers), rotations)
	if len(ep.Secrets) != config.MaxSecrets {
		t.Errorf("the endpoint has %d secrets", len(ep.Secrets))
	}
	if !slices.IsSortedFunc(ep.Secrets[1:], func(a, b config.SealedSecret) int { return b.ExpiresAt.Compare(*a.ExpiresAt) }) {
		t.Error("an earlier secret outlives a later one")
	}
}
