package consumer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// benchSurveys is how many endpoints the benchmark spreads its events over.
const benchSurveys = 100

// BenchmarkWholePath delivers stored events through the whole path to receivers
// on loopback, server and receivers in the same process, without syncing each
// write. The minimal loop beside it pulls, signs, posts and acknowledges, and
// does nothing else: their ratio is what matters.
func BenchmarkWholePath(b *testing.B) {
	b.Run("minimal", func(b *testing.B) { benchPath(b, runMinimal) })
	b.Run("product", func(b *testing.B) { benchPath(b, runProduct(true)) })
	b.Run("product without its delivery log", func(b *testing.B) { benchPath(b, runProduct(false)) })
}

// benchBus is what both loops run on.
type benchBus struct {
	js    jetstream.JetStream
	l     layout.Layout
	url   string
	keys  *config.Keyring
	seen  atomic.Int64
	total int64
	done  chan struct{}
}

func benchPath(b *testing.B, loop func(b *testing.B, x *benchBus)) {
	x := newBenchBus(b)
	pub := events.NewPublisher(x.js, events.PublisherOptions{})
	sum, err := pub.PublishAll(b.Context(), func(yield func([]byte) bool) {
		for i := range b.N {
			if !yield(benchEvent(i)) {
				return
			}
		}
	}, nil)
	if err != nil || sum.Published != b.N {
		b.Fatalf("published %+v: %v", sum, err)
	}
	x.total = int64(b.N)
	b.ResetTimer()
	loop(b, x)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// benchEvent is about 1 KB, as events are.
func benchEvent(i int) []byte {
	return fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","origin":"web","survey":{"id":"s%d","name":"Customer Satisfaction Survey"},"response":{"id":"r%d","answers":[{"questionId":"q1","value":9},{"questionId":"q2","value":"%0700d"}],"customParams":{"plan":"pro"},"completedAt":"2024-01-22T12:00:00.000Z"}}`,
		i%benchSurveys, i, i)
}

func newBenchBus(b *testing.B) *benchBus {
	x := &benchBus{js: bustest.Start(b), done: make(chan struct{}, 1)}
	if _, err := provision.Run(b.Context(), x.js, x.l, provision.Ensure, zerolog.Nop()); err != nil {
		b.Fatal(err)
	}
	x.listen(b)
	return x
}

// listen receives on one port for every survey.
func (x *benchBus) listen(b *testing.B) {
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	x.url = "http://" + l.Addr().String() + "/"
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if x.seen.Add(1) == x.total {
			x.done <- struct{}{}
		}
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
}

// runProduct is the service as users run it, its text log thrown away.
func runProduct(deliveryLog bool) func(b *testing.B, x *benchBus) {
	return func(b *testing.B, x *benchBus) { x.product(b, deliveryLog) }
}

func (x *benchBus) product(b *testing.B, deliveryLog bool) {
	key, err := config.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	if x.keys, err = config.NewKeyring(key); err != nil {
		b.Fatal(err)
	}
	rules := delivery.Rules{AllowInsecure: true}
	store, err := config.Open(b.Context(), x.js, x.l.Names.Endpoints(), config.StoreOptions{Keys: x.keys, Rules: rules})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for i := range benchSurveys {
		x.endpoint(b, store, events.Survey(fmt.Sprint("s", i)))
	}
	client, err := delivery.NewClient(delivery.Options{Rules: rules})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	o := consumer.Options{Layout: x.l, Slots: 256, Log: zerolog.New(io.Discard)}
	if deliveryLog {
		history := deliverylog.New(x.js, x.l.Names, deliverylog.Options{})
		writing, stopWriting := context.WithCancel(b.Context())
		written := make(chan error, 1)
		go func() { written <- history.Run(writing) }()
		defer func() {
			stopWriting()
			if err := <-written; err != nil {
				b.Error(err)
			}
		}()
		o.History = history
	}
	c := consumer.New(x.js, store, client, o)
	fetch, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ResetTimer()
	go func() { ended <- c.Run(fetch, b.Context()) }()
	<-x.done
	b.StopTimer()
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

func (x *benchBus) endpoint(b *testing.B, store *config.Store, survey events.Survey) {
	secret, err := delivery.NewSecret("benchmark")
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := x.keys.Seal(survey, secret)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Put(b.Context(), config.Endpoint{Survey: survey, URL: x.url, Enabled: true, Secrets: []config.SealedSecret{sealed}}); err != nil {
		b.Fatal(err)
	}
}

// runMinimal is the least that could be called a webhook consumer.
func runMinimal(b *testing.B, x *benchBus) {
	secret, err := delivery.NewSecret("benchmark")
	if err != nil {
		b.Fatal(err)
	}
	cons, err := x.js.Consumer(b.Context(), x.l.Names.Stream(), x.l.Names.Consumer())
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, DisableCompression: true}
	defer transport.CloseIdleConnections()
	msgs := make(chan jetstream.Msg)
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for msg := range msgs {
				x.post(b, transport, secret, msg)
			}
		})
	}
	cc, err := cons.Consume(func(msg jetstream.Msg) { msgs <- msg }, jetstream.PullMaxMessages(256))
	if err != nil {
		b.Fatal(err)
	}
	<-x.done
	b.StopTimer()
	cc.Stop()
	<-cc.Closed()
	close(msgs)
	wg.Wait()
}

func (x *benchBus) post(b *testing.B, transport *http.Transport, secret delivery.Secret, msg jetstream.Msg) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, x.url, bytes.NewReader(msg.Data()))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(delivery.HeaderSignature, delivery.Sign(secret, msg.Data()))
	resp, err := transport.RoundTrip(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err := msg.Ack(); err != nil {
		b.Error(err)
	}
}
