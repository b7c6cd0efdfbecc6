package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// plainCommand is the consumer a team would write instead.
type plainCommand struct {
	NATS      string `required:""`
	Scenario  string `required:"" type:"path"`
	Addresses string `required:"" type:"path" help:"What the receiver printed."`
}

// The plain consumer's settings, as its author would choose them.
const (
	plainConsumer = "plain"
	plainPending  = 1000
	plainAgain    = 5 * time.Second
)

// plainConfig is its durable.
func plainConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: plainConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxAckPending: plainPending,
	}
}

// plain delivers without any thought of one endpoint hurting another.
type plain struct {
	s      scenario
	hosts  []string
	client *http.Client
	secret delivery.Secret
}

// Run delivers until it is told to stop.
func (c *plainCommand) Run(ctx context.Context) error {
	p, err := c.prepare()
	if err != nil {
		return err
	}
	var handlers sync.WaitGroup
	return consume(ctx, c.NATS, func(msg jetstream.Msg) {
		handlers.Go(func() { p.handle(ctx, msg) })
	}, handlers.Wait)
}

// consume hands on the messages of the plain durable until ctx ends; settle waits
// for those that were handed on, while their acknowledgements can still be sent.
func consume(ctx context.Context, url string, take func(jetstream.Msg), settle func()) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer settle()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	cons, err := js.Consumer(ctx, events.Names{}.Stream(), plainConsumer)
	if err != nil {
		return err
	}
	cc, err := cons.Consume(take, jetstream.PullMaxMessages(plainPending))
	if err != nil {
		return err
	}
	<-ctx.Done()
	cc.Stop()
	<-cc.Closed()
	return nil
}

func (c *plainCommand) prepare() (*plain, error) {
	s, err := readScenario(c.Scenario)
	if err != nil {
		return nil, err
	}
	var a addresses
	if err := readJSON(c.Addresses, &a); err != nil {
		return nil, err
	}
	secret, err := delivery.NewSecret(sharedSecret)
	if err != nil {
		return nil, err
	}
	return &plain{s: s, hosts: a.Hosts, secret: secret, client: &http.Client{
		Timeout: timeOut, Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true},
	}}, nil
}

// handle settles one message: done after a 2xx, again in five seconds otherwise.
func (p *plain) handle(ctx context.Context, msg jetstream.Msg) {
	err := p.post(ctx, msg)
	if err == nil {
		err = msg.Ack()
	} else {
		err = msg.NakWithDelay(plainAgain)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "settle:", err)
	}
}

func (p *plain) post(ctx context.Context, msg jetstream.Msg) error {
	e, err := events.Names{}.DecodeMax(msg.Subject(), msg.Headers(), msg.Data(), events.MaxBytes)
	if err != nil {
		return err
	}
	i, err := surveyIndex(string(e.Survey))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.s.url(p.hosts, i), bytes.NewReader(msg.Data()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(delivery.HeaderSignature, delivery.Sign(p.secret, msg.Data()))
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}
