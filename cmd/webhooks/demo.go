package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// demoTime bounds the whole demonstration.
const demoTime = 30 * time.Second

type demoCommand struct {
	Verbose bool `name:"verbose" short:"v" help:"Also show the service's own log."`
}

// demonstration is one run of the demo: a whole deployment in one process.
type demonstration struct {
	w        *world
	service  *service
	editor   *config.Editor
	owners   []*owner
	expected int // deliveries that must arrive

	mu       sync.Mutex // guards the rest
	verified map[string]bool
	refused  int
	bad      []string
	changed  chan struct{} // capacity one: a request was answered
}

// owner is a survey's owner with a server of their own.
type owner struct {
	survey events.Survey
	name   string
	secret delivery.Secret
	url    string
	says   string // what their server does
	server *receiver
}

// Run shows the real path from event to endpoint, step by step, and fails
// unless every delivery arrived and verified.
func (c *demoCommand) Run(w *world) error {
	ctx, cancel := context.WithTimeout(w.ctx, demoTime)
	defer cancel()
	dir, err := os.MkdirTemp("", "webhooks-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d := &demonstration{w: w, verified: map[string]bool{}, changed: make(chan struct{}, 1)}
	return d.run(ctx, dir, c.log(w))
}

func (c *demoCommand) log(w *world) zerolog.Logger {
	if !c.Verbose {
		return zerolog.Nop()
	}
	return zerolog.New(zerolog.ConsoleWriter{Out: w.errw, TimeFormat: time.TimeOnly, NoColor: !w.colour(w.errw)}).With().Timestamp().Logger()
}

func (d *demonstration) run(ctx context.Context, dir string, log zerolog.Logger) (err error) {
	d.w.printf("1. Starting the service with its own NATS JetStream server in a temporary folder.\n")
	settings := config.Settings{
		Embedded: config.EmbeddedSettings{DataDir: dir, MaxStore: 256 << 20},
		Delivery: config.DeliverySettings{MaxInFlight: 64, AckWait: 30 * time.Second, DisableAfter: 5 * 24 * time.Hour, EventMaxBytes: events.MaxBytes, AllowInsecure: true},
	}
	if d.service, err = openService(ctx, settings, d.w.env, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.service.close()) }()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.service.run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	serving, hangUp := context.WithCancel(ctx)
	var servers sync.WaitGroup
	defer servers.Wait()
	defer hangUp()
	if err := d.openOwners(serving, &servers); err != nil {
		return err
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	if err := d.await(ctx); err != nil {
		return err
	}
	return d.summarize(ctx)
}

// openOwners starts the owners' servers and connects their surveys to them.
func (d *demonstration) openOwners(ctx context.Context, servers *sync.WaitGroup) error {
	d.w.printf("2. Two survey owners start their servers and tell us where they are, each with a secret.\n")
	kv, err := d.service.js.KeyValue(ctx, d.service.layout.Names.Endpoints())
	if err != nil {
		return fmt.Errorf("open the endpoints: %w", err)
	}
	d.editor = config.NewEditor(kv, d.service.settings.Delivery.Rules())
	for _, o := range []*owner{
		{survey: "customer-satisfaction", name: "The shop", says: "answers 200", server: &receiver{status: 200}},
		{survey: "checkout-feedback", name: "The café", says: "answers 503 to the first request, then 200", server: &receiver{status: 200, failFirst: 1}},
	} {
		if err := d.openOwner(ctx, o, servers); err != nil {
			return err
		}
	}
	d.w.printf("   The survey \"newsletter\" has no webhook: nothing is owed to it.\n")
	return nil
}

func (d *demonstration) openOwner(ctx context.Context, o *owner, servers *sync.WaitGroup) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the server of %s: %w", o.name, err)
	}
	o.url = "http://" + l.Addr().String() + "/webhook"
	if o.secret, err = delivery.NewSecret("the secret of " + string(o.survey)); err != nil {
		return err
	}
	o.server.secret = o.secret
	o.server.print = func(q received) { d.arrived(o, q) }
	servers.Go(func() { _ = serve(ctx, l, d.w.surviving(o.server)) })
	sealed, err := d.service.keys.Seal(o.survey, o.secret)
	if err != nil {
		return err
	}
	_, err = d.editor.Put(ctx, config.Endpoint{Survey: o.survey, URL: o.url, Enabled: true, Secrets: []config.SealedSecret{sealed}})
	if err != nil {
		return err
	}
	d.owners = append(d.owners, o)
	d.w.printf("   %s (survey %q) at %s %s.\n", o.name, o.survey, o.url, o.says)
	return nil
}

// arrived notes one request and tells of it.
func (d *demonstration) arrived(o *owner, q received) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.w.printf("   %s got %s, attempt %s: %s; answered %d.\n", o.name, q.ID, q.Attempt, q.Verdict, q.Answered)
	switch {
	case !q.verified:
		d.bad = append(d.bad, q.ID)
	case q.Answered >= 200 && q.Answered <= 299:
		d.verified[q.ID] = true
	default:
		d.refused++
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// publish plays the survey platform.
func (d *demonstration) publish(ctx context.Context) error {
	d.w.printf("3. Visitors complete surveys; the platform publishes an event for each.\n")
	pub := events.NewPublisher(d.service.js, events.PublisherOptions{})
	for i, v := range []struct {
		survey events.Survey
		answer any
		owed   bool
	}{
		{"customer-satisfaction", 9, true},
		{"checkout-feedback", "Great service! ☕", true},
		{"newsletter", true, false},
		{"customer-satisfaction", 7, true},
	} {
		body, err := events.ResponseCompleted{
			Timestamp: time.Now().UTC(), Origin: "demo",
			Survey:   events.SurveyRef{ID: v.survey},
			Response: events.SurveyResponse{ID: fmt.Sprintf("response-%d", i+1), Answers: []events.Answer{{QuestionID: "q1", Value: v.answer}}, CompletedAt: time.Now().UTC()},
		}.Encode()
		if err != nil {
			return err
		}
		r, err := pub.Publish(ctx, body)
		if err != nil {
			return err
		}
		if v.owed {
			d.expected++
		}
		d.say("   Published %s for survey %q: %s, sequence %d.\n", r.ID, r.Survey, r.Stream, r.Sequence)
	}
	d.say("4. The service signs each event's bytes, posts them, and acknowledges an event only after a 2xx.\n")
	return nil
}

// say prints between requests, not through them.
func (d *demonstration) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.w.printf(format, args...)
}

// await returns when every delivery has arrived.
func (d *demonstration) await(ctx context.Context) error {
	for {
		d.mu.Lock()
		arrived := len(d.verified)
		d.mu.Unlock()
		if arrived >= d.expected {
			return nil
		}
		select {
		case <-d.changed:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d deliveries arrived: %w", arrived, d.expected, context.Cause(ctx))
		}
	}
}

// summarize checks what NATS says against what arrived.
func (d *demonstration) summarize(ctx context.Context) error {
	waiting, err := d.unsettled(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.w.printf("\n%d of %d deliveries arrived and verified; %d request was refused and tried again; %d events still wait.\n",
		len(d.verified), d.expected, d.refused, waiting)
	if len(d.bad) > 0 || waiting > 0 {
		return fmt.Errorf("%d signatures did not verify (%v), %d events still wait", len(d.bad), d.bad, waiting)
	}
	d.w.printf(`
Go on:
  webhooks run --allow-insecure-endpoints          the service, with its data in ./webhooks-data
  webhooks listen --secret-file secret.txt         a server of your own that verifies what it gets
  webhooks endpoint set my-survey --url http://127.0.0.1:9000/ --secret-file secret.txt --allow-insecure-endpoints
  webhooks endpoint test my-survey --allow-insecure-endpoints
`)
	return nil
}

// unsettled is how many events the stream's consumer still owes, once the
// acknowledgements have arrived.
func (d *demonstration) unsettled(ctx context.Context) (uint64, error) {
	names := d.service.layout.Names
	for {
		c, err := d.service.js.Consumer(ctx, names.Stream(), names.Consumer())
		if err != nil {
			return 0, fmt.Errorf("look at the consumer: %w", err)
		}
		n := owed(c.CachedInfo())
		if n == 0 || ctx.Err() != nil {
			return n, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func owed(i *jetstream.ConsumerInfo) uint64 { return i.NumPending + uint64(i.NumAckPending) }
