package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

const (
	rotations = 1000
	// stale is how long before a request arrives a secret may have left the overlap that
	// has signed it: an event has its endpoint's secrets as it is taken in hand, waits there
	// for its turn up to a second, and replicas hear of a rotation a moment later.
	stale = time.Second + slowed*750*time.Millisecond
	// rotationPace makes nearly all secrets older than that in the end: else any of them
	// would do at any time.
	rotationPace = 7 * stale / rotations
)

// rotatingOwner is a receiver that knows every secret it was given, and refuses
// what the newest one and those of the overlap have not signed.
type rotatingOwner struct {
	t  *testing.T
	mu sync.Mutex // guards the rest

	secrets  []given      // newest first
	signers  map[int]bool // the secrets that have signed, by when they came
	accepted map[string]int
	newest   int           // requests that the newest secret has signed
	late     int           // and those that one has signed which had left the overlap
	latest   time.Duration // before, at most
}

func newRotatingOwner(t *testing.T) *rotatingOwner {
	return &rotatingOwner{t: t, signers: map[int]bool{}, accepted: map[string]int{}}
}

type given struct {
	secret   delivery.Secret
	standard *standardwebhooks.Webhook
	left     time.Time // the overlap; zero while it is the newest or in it
}

func (o *rotatingOwner) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		o.t.Error(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if why := o.refuses(arrived, req.Header, body); why != "" {
		o.t.Error(why)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	o.accepted[req.Header.Get(delivery.HeaderDelivery)]++
}

// refuses says what is wrong with a request.
func (o *rotatingOwner) refuses(arrived time.Time, h http.Header, body []byte) string {
	signed := slices.IndexFunc(o.secrets, func(g given) bool {
		return delivery.Verify(g.secret, h.Get(delivery.HeaderSignature), body) == nil
	})
	if signed < 0 {
		return "no secret there ever was has signed a request"
	}
	if signed == 0 {
		o.newest++
	}
	if g := o.secrets[signed]; !g.left.IsZero() && arrived.After(g.left) {
		ago := arrived.Sub(g.left)
		if ago > stale {
			return fmt.Sprintf("a request is signed by a secret that was replaced %d rotations before, and had left the overlap %s ago", signed, ago)
		}
		o.late, o.latest = o.late+1, max(o.latest, ago)
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
	o.secrets = append([]given{{secret: secret, standard: standard}}, o.secrets...)
}

// rotated is called once the newest secret is stored: the oldest of the overlap is
// live no more.
func (o *rotatingOwner) rotated() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.secrets) > config.MaxSecrets {
		o.secrets[config.MaxSecrets].left = time.Now()
	}
}

// newSecret is a secret as an owner gets it.
func newSecret() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()))
}

// What the owner below refuses: a secret that left the overlap is still taken for as
// long as an attempt may have been under way, and not a moment longer.
func TestASecretThatHasLeftTheOverlapIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newRotatingOwner(t)
		body := event("s1", "r1")
		refuses := func(live ...given) string { // a request that these have signed, the newest first
			h := http.Header{}
			h.Set(delivery.HeaderSignature, delivery.Sign(live[0].secret, body))
			h.Set(delivery.HeaderStandardID, "r1")
			h.Set(delivery.HeaderStandardTimestamp, fmt.Sprint(time.Now().Unix()))
			var signatures []string
			for _, g := range live {
				signature, err := g.standard.Sign("r1", time.Now(), body)
				must(t, err)
				signatures = append(signatures, signature)
			}
			h.Set(delivery.HeaderStandardSignature, strings.Join(signatures, " "))
			return o.refuses(time.Now(), h, body)
		}
		for range config.MaxSecrets {
			o.learn(newSecret())
			o.rotated()
		}
		if why := refuses(o.secrets...); why != "" {
			t.Errorf("a request that all live secrets have signed is refused: %s", why)
		}
		if why := refuses(o.secrets[0]); !strings.Contains(why, "secret 1 of the overlap does not verify") {
			t.Errorf("a request is taken that the secrets of the overlap have not signed: %q", why)
		}
		before := slices.Clone(o.secrets)
		o.learn(newSecret())
		o.rotated()
		oldest := o.secrets[config.MaxSecrets]
		time.Sleep(stale)
		if why := refuses(oldest); why != "" || o.late != 1 || o.latest != stale {
			t.Errorf("a request that may have been signed in time is refused: %q; %d were late, %s at most", why, o.late, o.latest)
		}
		time.Sleep(time.Nanosecond)
		if why := refuses(oldest); !strings.Contains(why, "had left the overlap") {
			t.Errorf("a secret is taken that is live no more: %q", why)
		}
		if why := refuses(before...); why != "" {
			t.Errorf("a request by a secret of the overlap is refused: %s", why)
		}
	})
}

// A thousand rotations while two replicas deliver: nothing is sent that the newest
// secret or one of the overlap has not signed, and nothing is lost.
func TestAThousandRotationsUnderLoad(t *testing.T) {
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
	owner := newRotatingOwner(t)
	receiver := httptest.NewServer(owner)
	t.Cleanup(receiver.Close)
	v := replicas[0]
	ep := config.Endpoint{Survey: "s1", URL: receiver.URL, Enabled: true}
	rotate := func() {
		text := newSecret()
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
		owner.rotated()
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
			time.Sleep(slowed * time.Millisecond) // more at once would wait in lanes
		}
	})
	began := time.Now()
	tick := time.NewTicker(rotationPace)
	defer tick.Stop()
	for range rotations {
		<-tick.C
		rotate()
	}
	took := time.Since(began)
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
	if took < 5*stale {
		t.Errorf("%d rotations took %s: at any time a fifth of the secrets and more would have been taken", rotations, took)
	}
	t.Logf("%d events in %s, signed by %d secrets of %d; %d by the newest, %d by one that had left the overlap, %s before at most",
		published, took, len(owner.signers), rotations, owner.newest, owner.late, owner.latest)
	if len(ep.Secrets) != config.MaxSecrets {
		t.Errorf("the endpoint has %d secrets", len(ep.Secrets))
	}
	if !slices.IsSortedFunc(ep.Secrets[1:], func(a, b config.SealedSecret) int { return b.ExpiresAt.Compare(*a.ExpiresAt) }) {
		t.Error("an earlier secret outlives a later one")
	}
}
