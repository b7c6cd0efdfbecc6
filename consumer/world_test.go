package consumer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// storyShards is how many shards the lanes have in the stories: two replicas share
// them, and idle ones do not make a story of five days take a minute.
const storyShards = 4

// storySlots is how many messages a replica has in hand at most.
const storySlots = 100

// ackWait in the stories; shorter than in production so that they read well.
const ackWait = 30 * time.Second

// How often replicas look at the mark, and how long they pull: as in production in
// the stories of that, and more seldom in the others, where asking every second was a
// third of all that they computed.
const (
	often     = time.Second
	usualCalm = 5 * time.Second
)

// world is a whole deployment inside a bubble of fake time: a real JetStream
// server, receivers, replicas. Its invariants check themselves at the end of
// each story.
type world struct {
	t         testing.TB
	server    *bustest.Server
	nc        *nats.Conn
	js        jetstream.JetStream
	layout    layout.Layout
	internet  *internet
	keys      *config.Keyring
	replicas  []*replica
	published map[string]*published // by event id
	log       *syncBuffer
	wire      *bustest.Wire    // of replicas started from now on
	history   consumer.History // of all replicas; nil remembers nothing
	seq       int
	unwired   map[string]bool                             // surveys that had no webhook at some time: nothing may have been owed to them
	wrap      func(consumer.Sender) consumer.Sender       // around each replica's client; nil leaves it as it is
	jobs      []string                                    // replays that were started in a random life
	disable   time.Duration                               // how long an endpoint may fail before it is disabled; 0 is the default
	laneMost  int                                         // events one lane holds; 0 is the default
	metrics   prometheus.Registerer                       // of the one replica of a story that counts; nil counts nowhere
	tracer    trace.Tracer                                // of replicas started from now on; nil traces nothing
	calm      time.Duration                               // how often replicas started from now on look at the mark and at the buckets they watch, and how long they pull; 0 is what it is in production
	lookups   func(consumer.Endpoints) consumer.Endpoints // around each replica's store; nil leaves it as it is
	trap      *trap                                       // set in each replica's way to NATS and to receivers; nil sets none
	panics    *panics.Guard                               // of all that a replica is made of; nil leaves the consumer to its own
}

// published is one event the platform got an acknowledgement for.
type published struct {
	id, survey string
	seq        uint64
	body       string
	malformed  bool
	forgotten  bool // erased before it was accepted
}

// story runs f in a bubble around a fresh world and checks the invariants.
func story(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		w.checkInvariants()
		w.close()
	})
}

func newWorld(t testing.TB) *world {
	key, err := config.GenerateKey()
	must(t, err)
	keys, err := config.NewKeyring(key)
	must(t, err)
	w := &world{t: t, server: bustest.New(t, server.Options{ServerName: "story", MaxPayload: 8 << 20}), internet: newInternet(), keys: keys, unwired: map[string]bool{}, published: map[string]*published{}, log: &syncBuffer{}, wire: &bustest.Wire{}, calm: usualCalm}
	// Inside a bubble the server ages messages by a clock outside it, and would
	// expire every lease at once; a replica that crashes takes its leases along in
	// crash instead.
	w.layout = layout.Layout{Names: events.Names{}.WithShards(storyShards), AckWait: ackWait, LeaseTTL: 10_000 * time.Hour}
	w.dial()
	w.provision()
	return w
}

// boot starts the server again on its folder.
func (w *world) boot() {
	w.server.Boot()
	w.dial()
}

// dial connects the world itself, to look at what the replicas do.
func (w *world) dial() {
	w.nc = w.server.Connect()
	w.js = bustest.JetStream(w.t, w.nc)
}

// halt stops the server. Replicas stay, without a server to talk to.
func (w *world) halt() {
	w.nc.Close()
	w.server.Halt()
}

// haltHeld is halt at any moment, whatever replicas are asking for: a server that
// stops sleeps with a lock in its hands, which in a bubble is the end of all time for
// whoever waits for it. So they are held meanwhile, and what they say is lost.
func (w *world) haltHeld() {
	w.nc.Close()
	w.wire.Hold()
	synctest.Wait()
	w.server.Halt()
	w.wire.Release()
}

func (w *world) provision() {
	w.t.Helper()
	if _, err := provision.Run(w.t.Context(), w.js, w.layout, provision.Ensure, zerolog.Nop()); err != nil {
		w.t.Fatal(err)
	}
}

// endpoint gives a survey a webhook and returns its receiver.
func (w *world) endpoint(survey string) *receiver {
	w.t.Helper()
	return w.endpointAt(survey, "receiver.test")
}

// endpointAt gives a survey a webhook on a host.
func (w *world) endpointAt(survey, host string) *receiver {
	w.t.Helper()
	secret, err := delivery.NewSecret("secret of " + survey)
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := w.keys.Seal(events.Survey(survey), secret)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(config.Endpoint{Survey: events.Survey(survey), URL: "http://" + host + "/" + survey, Enabled: true, Secrets: []config.SealedSecret{sealed}})
	return w.internet.at(survey)
}

// put writes an endpoint as the platform would, over whatever is there.
func (w *world) put(e config.Endpoint) {
	w.t.Helper()
	value, err := e.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	kv := w.bucket(w.layout.Names.Endpoints())
	if _, err := kv.Put(w.t.Context(), string(e.Survey), value); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// stored is a survey's endpoint as it stands in the bucket.
func (w *world) stored(survey string) config.Endpoint {
	w.t.Helper()
	e, err := config.NewEditor(w.bucket(w.layout.Names.Endpoints()), delivery.Rules{AllowInsecure: true}).Get(w.t.Context(), events.Survey(survey))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) remove(survey string) {
	w.t.Helper()
	w.unwired[survey] = true
	if err := w.bucket(w.layout.Names.Endpoints()).Delete(w.t.Context(), survey); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) bucket(name string) jetstream.KeyValue {
	w.t.Helper()
	kv, err := w.js.KeyValue(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return kv
}

// publish publishes one completed response and returns its id.
func (w *world) publish(survey string) string {
	w.t.Helper()
	id := w.nextID()
	w.seq++
	body := fmt.Sprintf(`{"event":"response.completed","timestamp":%q,"survey":{"id":%q},"response":{"id":%q}}`,
		time.Now().UTC().Format(time.RFC3339Nano), survey, id)
	w.publishRaw(survey, id, body, false)
	return id
}

// nextID is the id of the event that is published next.
func (w *world) nextID() string { return fmt.Sprintf("r-%04d", w.seq+1) }

// publishMalformed publishes bytes that are no event.
func (w *world) publishMalformed(survey, body string) {
	w.t.Helper()
	w.seq++
	w.publishRaw(survey, fmt.Sprintf("malformed-%d", w.seq), body, true)
}

func (w *world) publishRaw(survey, id, body string, malformed bool) {
	w.t.Helper()
	ack, err := w.js.Publish(w.t.Context(), w.layout.Names.Subject(events.Survey(survey)), []byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	w.published[id] = &published{id: id, survey: survey, seq: ack.Sequence, body: body, malformed: malformed}
}

// advance lets fake time pass and everything settle.
func (w *world) advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// replica is one running service.
type replica struct {
	w          *world
	id         string
	nc         *nats.Conn
	store      *config.Store
	client     *delivery.Client
	consumer   *consumer.Consumer
	stop, kill context.CancelFunc
	done       chan error
	ended      bool
}

// start runs one more replica.
func (w *world) start() *replica {
	w.t.Helper()
	r, err := w.tryStart()
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return r
}

func (w *world) tryStart() (*replica, error) {
	r := &replica{w: w, id: fmt.Sprint("replica-", len(w.replicas)), nc: w.server.ConnectOver(w.wire), done: make(chan error, 1)}
	js := bustest.JetStream(w.t, r.nc)
	dial := w.internet.dial
	if w.trap != nil {
		js, dial = trappedBus{js, w.trap}, w.trap.dialling(dial)
	}
	log := zerolog.New(w.log).With().Int("replica", len(w.replicas)).Logger()
	var err error
	if r.store, err = config.Open(w.t.Context(), js, w.layout.Names.Endpoints(), config.StoreOptions{
		Keys: w.keys, Rules: delivery.Rules{AllowInsecure: true}, Log: log, Panics: w.panics, CheckEvery: max(w.calm, time.Minute),
	}); err != nil {
		return nil, err
	}
	if r.client, err = delivery.NewClient(delivery.Options{
		Version: "story", Rules: delivery.Rules{AllowInsecure: true}, DialContext: dial, Panics: w.panics,
	}); err != nil {
		return nil, err
	}
	var sender consumer.Sender = r.client
	if w.wrap != nil {
		sender = w.wrap(sender)
	}
	var endpoints consumer.Endpoints = r.store
	if w.lookups != nil {
		endpoints = w.lookups(endpoints)
	}
	r.consumer = consumer.New(js, endpoints, sender, consumer.Options{
		Layout: w.layout, Replica: r.id, Slots: storySlots, LaneEvents: w.laneMost, DisableAfter: w.disable, Log: log,
		MarkInterval: w.calm, HealthEvery: w.calm, PullExpires: w.calm, History: w.history, Metrics: w.metrics, Tracer: w.tracer, Panics: w.panics,
	})
	fetch, stop := context.WithCancel(context.Background())
	work, kill := context.WithCancel(context.Background())
	r.stop, r.kill = stop, kill
	go func() { r.done <- r.consumer.Run(fetch, work) }()
	w.replicas = append(w.replicas, r)
	return r, nil
}

// leave stops the replica as SIGTERM does and waits until it is gone.
func (r *replica) leave() {
	r.w.t.Helper()
	r.stop()
	r.wait()
}

// crash cuts the replica off without letting it finish anything.
func (r *replica) crash() {
	r.nc.Close()
	r.stop()
	r.kill()
	r.wait()
	r.expire()
}

// expire does what the server does fifteen seconds after a replica's death.
func (r *replica) expire() {
	r.w.t.Helper()
	names := r.w.layout.Names
	for _, bucket := range []string{names.Replicas(), names.Leases()} {
		kv := r.w.bucket(bucket)
		keys, err := kv.ListKeys(context.Background())
		if err != nil {
			r.w.t.Fatal(err)
		}
		for key := range keys.Keys() {
			e, err := kv.Get(context.Background(), key)
			if err == nil && strings.Contains(string(e.Value()), `"`+r.id+`"`) {
				_ = kv.Delete(context.Background(), key)
			}
		}
	}
}

func (r *replica) wait() {
	if r.ended {
		return
	}
	r.ended = true
	if err := <-r.done; err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		r.w.t.Errorf("the replica ended with: %v", err)
	}
	r.kill()
	r.client.Close()
	r.store.Close()
	r.nc.Close()
	synctest.Wait()
}

func (w *world) close() {
	for _, r := range w.replicas {
		r.leave()
	}
	_ = w.internet.server.Close()
	w.halt()
	synctest.Wait()
}

// wantDelivered checks that an event was accepted exactly n times.
func (w *world) wantDelivered(id string, n int) {
	w.t.Helper()
	p := w.published[id]
	if got := w.internet.at(p.survey).accepted(id); got != n {
		w.t.Errorf("event %s was accepted %d times, want %d", id, got, n)
	}
}

// wantRequests checks how many requests a survey's receiver saw.
func (w *world) wantRequests(survey string, n int) {
	w.t.Helper()
	if got := w.internet.at(survey).seen(); len(got) != n {
		w.t.Errorf("the receiver of %s saw %d requests, want %d:%s", survey, len(got), n, summary(got))
	}
}

// summary lists requests, a line each.
func summary(requests []request) string {
	var b strings.Builder
	for _, q := range requests {
		fmt.Fprintf(&b, "\n  %s  event %s, attempt %s: %d", q.at.Format("15:04:05.000"), q.id, q.attempt, q.status)
	}
	return b.String()
}

// wantLog checks that something was said.
func (w *world) wantLog(text string) {
	w.t.Helper()
	if !strings.Contains(w.log.String(), text) {
		w.t.Errorf("the log says nothing of %q:\n%s", text, w.log.String())
	}
}

// info is the live consumer as the server sees it.
func (w *world) info() *jetstream.ConsumerInfo {
	w.t.Helper()
	c, err := w.js.Consumer(w.t.Context(), w.layout.Names.Stream(), w.layout.Names.Consumer())
	if err != nil {
		w.t.Fatal(err)
	}
	return c.CachedInfo()
}

// wantSettled checks that nothing waits on the live consumer.
func (w *world) wantSettled() {
	w.t.Helper()
	if i := w.info(); i.NumPending+uint64(i.NumAckPending) != 0 {
		w.t.Errorf("%d events are unpulled and %d unsettled, want none", i.NumPending, i.NumAckPending)
	}
}

// checkInvariants stops every replica and looks at each published event: it was
// accepted, or its survey never had a webhook, or it is a dead letter, or
// the server still has it for us. Nothing is in neither place. And no receiver
// ever saw bytes other than those published, or a wrong signature.
func (w *world) checkInvariants() {
	w.t.Helper()
	for _, r := range w.replicas {
		r.leave()
	}
	waiting, buried := append(w.unsettled(), w.parked()...), w.buried()
	for id, p := range w.published {
		accepted := w.internet.at(p.survey).accepted(id)
		switch {
		case p.forgotten:
		case accepted > 0 || slices.Contains(buried, p.seq) || slices.Contains(waiting, p.seq) || w.owed(p):
		case p.malformed || w.hasWebhook(p.survey):
			w.t.Errorf("event %s (sequence %d) is lost: neither accepted nor waiting", id, p.seq)
		}
	}
	w.checkReceived()
	secrets := leaktest.Plant(w.t, "secret of ")
	secrets.In(w.t, "the log", []byte(w.log.String()))
	if dir := w.server.Dir(); len(w.published) < 100 {
		secrets.InFolder(w.t, dir)
	}
}

// parked returns the stream sequences of all events in lanes.
func (w *world) parked() []uint64 {
	w.t.Helper()
	stream, err := w.js.Stream(context.Background(), w.layout.Names.Lanes())
	if err != nil {
		w.t.Fatal(err)
	}
	var seqs []uint64
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		msg, err := stream.GetMsg(context.Background(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		src, known := lanes.Source(msg.Header)
		if !known {
			w.t.Fatalf("copy %d does not say which event it is: %v", seq, msg.Header)
		}
		seqs = append(seqs, src)
	}
	return seqs
}

// owed says whether an event is promised to be brought into its lane.
func (w *world) owed(p *published) bool {
	r, there := w.health(p.survey)
	return there && r.OwedFrom != 0 && p.seq >= r.OwedFrom
}

// health is a survey's health record as it stands in the bucket.
func (w *world) health(survey string) (r health.Record, there bool) {
	w.t.Helper()
	e, err := w.bucket(w.layout.Names.Health()).Get(context.Background(), survey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return r, false
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return r, true
}

// buried returns the stream sequences of all dead letters.
func (w *world) buried() []uint64 {
	var seqs []uint64
	for _, l := range w.letters() {
		seqs = append(seqs, l.Source)
	}
	return seqs
}

func (w *world) hasWebhook(survey string) bool {
	_, err := w.bucket(w.layout.Names.Endpoints()).Get(context.Background(), survey)
	return err == nil
}

func (w *world) checkReceived() {
	w.t.Helper()
	for survey, r := range w.internet.receivers {
		secret, err := delivery.NewSecret("secret of " + survey)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, q := range r.seen() {
			if p := w.published[q.id]; p == nil || p.body != q.body {
				w.t.Errorf("the receiver of %s got bytes for %q that were not published: %q", survey, q.id, q.body)
			}
			if err := delivery.Verify(secret, q.header.Get(delivery.HeaderSignature), []byte(q.body)); err != nil {
				w.t.Errorf("the signature of %s does not verify: %v", q.id, err)
			}
		}
	}
}

// unsettled returns the stream sequences the live consumer still owes, by
// waiting until every delivery has timed out and pulling what comes.
func (w *world) unsettled() []uint64 {
	w.t.Helper()
	w.advance(2 * ackWait)
	c, err := w.js.Consumer(context.Background(), w.layout.Names.Stream(), w.layout.Names.Consumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var seqs []uint64
	for {
		batch, err := c.FetchNoWait(1000)
		if err != nil {
			w.t.Fatal(err)
		}
		n := 0
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				w.t.Fatal(err)
			}
			seqs = append(seqs, meta.Sequence.Stream)
			n++
		}
		if n == 0 {
			return seqs
		}
	}
}

// syncBuffer is a log to read while it is written.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
