package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// deployment is one of several on the same NATS: its own prefix, key ring, secret and
// receiver, and surveys that are called as everybody else's.
type deployment struct {
	prefix string
	names  events.Names
	v      *service
	secret string
	url    string // of its receiver; what is behind /fails answers 500

	mu       sync.Mutex     // guards what follows
	accepted map[string]int // by event
	foreign  []string       // events that another secret has signed
}

// TestDeploymentsWithPrefixesKeepApartOnOneServer runs three deployments on one NATS, with
// the same surveys and the same response ids. One of a deployment's endpoints fails, so
// that lanes and health are used beside those of others who have nothing to do with it.
func TestDeploymentsWithPrefixesKeepApartOnOneServer(t *testing.T) {
	bus := externalNATS(t, &server.Options{})
	var all []*deployment
	for _, prefix := range []string{"", "eu", "us"} {
		all = append(all, newDeployment(t, bus.ClientURL(), prefix))
	}
	const n = 20
	for _, d := range all {
		pub := events.NewPublisher(d.v.js, events.PublisherOptions{Names: d.names})
		for i := range n {
			for _, survey := range []events.Survey{"works", "fails-in-eu"} {
				r, err := pub.Publish(t.Context(), event(survey, fmt.Sprint(survey, i)))
				must(t, err)
				if r.Stream != d.names.Stream() {
					t.Errorf("%q: event %s is in stream %s, want %s", d.prefix, r.ID, r.Stream, d.names.Stream())
				}
			}
		}
		_, err := pub.Publish(t.Context(), event(events.Survey(d.name()), d.name()))
		must(t, err)
	}
	for _, d := range all {
		within(t, func() string { return d.toCome(t, n) })
	}
	for _, d := range all {
		d.check(t, n)
	}
	wantNothingShared(t, all)
}

// TestASecondDeploymentInALimitedAccountIsRefused because the first has its shares of the
// whole limit: which deployment may have how much is for a person to say, with an account
// each.
func TestASecondDeploymentInALimitedAccountIsRefused(t *testing.T) {
	bus := externalNATS(t, &server.Options{})
	account, err := bus.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	must(t, err)
	must(t, account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: 1 << 30, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}}))
	newDeployment(t, bus.ClientURL(), "eu")
	s := testSettings(t.TempDir())
	s.NATS.URL, s.Keys.Ring, s.Bus.Prefix = bus.ClientURL(), newRing(t), "us"
	v, err := openService(t.Context(), s, noEnv, zerolog.Nop())
	if err == nil {
		t.Cleanup(running(t, v))
		t.Fatal("a second deployment has found room that was not there")
	}
	if !strings.Contains(err.Error(), "us_RESPONSES") || !strings.Contains(err.Error(), "insufficient storage") {
		t.Errorf("the error says neither what was refused nor why: %v", err)
	}
}

// name is what tells it from the others.
func (d *deployment) name() string { return "only-in-" + d.prefix }

func newDeployment(t *testing.T, url, prefix string) *deployment {
	t.Helper()
	d := &deployment{prefix: prefix, secret: "secret-of-" + prefix, accepted: map[string]int{}}
	receiver := httptest.NewServer(d)
	t.Cleanup(receiver.Close)
	d.url = receiver.URL
	s := testSettings(t.TempDir())
	s.NATS.URL, s.Keys.Ring, s.Bus.Prefix = url, newRing(t), prefix
	var err error
	d.names, err = s.Bus.Names()
	must(t, err)
	d.v, err = openService(t.Context(), s, noEnv, zerolog.Nop())
	must(t, err)
	t.Cleanup(running(t, d.v))
	connect(t, d.v, "works", d.url, d.secret)
	path := ""
	if prefix == "eu" {
		path = "/fails"
	}
	connect(t, d.v, "fails-in-eu", d.url+path, d.secret)
	connect(t, d.v, events.Survey(d.name()), d.url, d.secret)
	return d
}

// ServeHTTP is the deployment's receiver.
func (d *deployment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(delivery.HeaderDelivery)
	body, err := io.ReadAll(r.Body)
	secret, secretErr := delivery.NewSecret(d.secret)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || secretErr != nil || delivery.Verify(secret, r.Header.Get(delivery.HeaderSignature), body) != nil {
		d.foreign = append(d.foreign, id)
	}
	if strings.HasPrefix(r.URL.Path, "/fails") {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	d.accepted[id]++
}

// toCome says what is still to come until all events of the deployment have been
// delivered or wait in its lanes, and it knows which of its endpoints fails.
func (d *deployment) toCome(t *testing.T, n int) string {
	t.Helper()
	want, parked := 2*n+1, 0
	if d.prefix == "eu" {
		want, parked = n+1, n
	}
	lanes, err := d.v.js.Stream(t.Context(), d.names.Lanes())
	if err != nil {
		return err.Error()
	}
	health, err := d.v.js.KeyValue(t.Context(), d.names.Health())
	if err != nil {
		return err.Error()
	}
	_, err = health.Get(t.Context(), "fails-in-eu")
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, fails := int(lanes.CachedInfo().State.Msgs), err == nil //nolint:gosec // few
	if len(d.accepted) < want || waiting != parked || fails != (d.prefix == "eu") {
		return fmt.Sprintf("%q: %d events accepted, %d in lanes, an endpoint fails: %v (%v); want %d, %d and %v", d.prefix, len(d.accepted), waiting, fails, err, want, parked, d.prefix == "eu")
	}
	return ""
}

// check looks at what a deployment's endpoints have got.
func (d *deployment) check(t *testing.T, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.foreign) > 0 {
		t.Errorf("%q: events of another deployment, by their signature: %v", d.prefix, d.foreign)
	}
	for id, times := range d.accepted {
		if times != 1 {
			t.Errorf("%q: event %s was delivered %d times", d.prefix, id, times)
		}
		if strings.HasPrefix(id, "only-") && id != d.name() {
			t.Errorf("%q: event %s is another deployment's", d.prefix, id)
		}
	}
	c, err := d.v.js.Consumer(t.Context(), d.names.Stream(), d.names.Consumer())
	must(t, err)
	if got := c.CachedInfo().Delivered.Stream; got != uint64(2*n+1) { //nolint:gosec // never negative
		t.Errorf("%q: the live consumer stands at %d, want %d: its own events alone", d.prefix, got, 2*n+1)
	}
}

// wantNothingShared wants every stream on the server, which buckets are too, to be of
// exactly one deployment; a consumer belongs to its stream.
func wantNothingShared(t *testing.T, all []*deployment) {
	t.Helper()
	owner := map[string]string{}
	for _, d := range all {
		for _, name := range streamsOf(layout.Layout{Names: d.names}) {
			if other, taken := owner[name]; taken {
				t.Errorf("stream %s is both %q's and %q's", name, other, d.prefix)
			}
			owner[name] = d.prefix
		}
	}
	js := all[0].v.js
	var found []string
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		found = append(found, info.Config.Name)
	}
	must(t, list.Err())
	slices.Sort(found)
	if want := slices.Sorted(maps.Keys(owner)); !slices.Equal(found, want) {
		t.Errorf("on the server are the streams\n%v, want those of the deployments\n%v", found, want)
	}
	for _, name := range found {
		s, err := js.Stream(t.Context(), name)
		must(t, err)
		wantOwnSubjects(t, s, all, owner[name])
	}
}

// wantOwnSubjects wants a stream to store nothing that begins with another deployment's
// prefix, nor, where there is one, without its own.
func wantOwnSubjects(t *testing.T, s jetstream.Stream, all []*deployment, prefix string) {
	t.Helper()
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	must(t, err)
	for subject := range info.State.Subjects {
		first, _, _ := strings.Cut(strings.TrimPrefix(subject, "$KV."), ".")
		of := ""
		for _, d := range all {
			if d.prefix != "" && (first == d.prefix || strings.HasPrefix(first, d.prefix+"_")) {
				of = d.prefix
			}
		}
		if of != prefix {
			t.Errorf("stream %s of %q stores %s of %q", info.Config.Name, prefix, subject, of)
		}
	}
}

// streamsOf are all streams of a deployment, which its buckets are too.
func streamsOf(l layout.Layout) (names []string) {
	for _, s := range append(l.Own(), l.Events()) {
		names = append(names, s.Name)
	}
	for _, b := range l.Buckets() {
		names = append(names, "KV_"+b.Bucket)
	}
	return names
}
