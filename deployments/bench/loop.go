package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery"
)

// loopCommand is the least that delivers at all: pull, sign, send, acknowledge.
// Nothing is checked, nothing tried again, nothing remembered; it is the limit
// that the service is measured against.
type loopCommand struct {
	NATS    string `required:""`
	URLs    string `required:"" name:"urls" type:"path" help:"Each survey's URL."`
	Workers int    `default:"256"`
	CA      string `name:"ca" type:"path" help:"Certificate authority of the receivers; the system's if not given."`
	HTTP2   bool   `name:"http2" help:"Speak HTTP/2 where it is offered."`
}

// loop is one of them.
type loop struct {
	urls      map[string]*url.URL // by survey
	transport *http.Transport
	secret    delivery.Secret
}

// Run delivers until it is told to stop.
func (c *loopCommand) Run(ctx context.Context) error {
	l, err := c.prepare()
	if err != nil {
		return err
	}
	msgs := make(chan jetstream.Msg, c.Workers)
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() {
			for msg := range msgs {
				l.handle(ctx, msg)
			}
		})
	}
	return consume(ctx, c.NATS, func(msg jetstream.Msg) { msgs <- msg }, func() {
		close(msgs)
		workers.Wait()
	})
}

func (c *loopCommand) prepare() (*loop, error) {
	var urls map[string]string
	if err := readJSON(c.URLs, &urls); err != nil {
		return nil, err
	}
	secret, err := delivery.NewSecret(sharedSecret)
	if err != nil {
		return nil, err
	}
	trust, err := trusting(c.CA)
	if err != nil {
		return nil, err
	}
	l := &loop{secret: secret, urls: map[string]*url.URL{}, transport: &http.Transport{
		MaxIdleConnsPerHost: c.Workers, IdleConnTimeout: time.Minute, DisableCompression: true, TLSClientConfig: trust, ForceAttemptHTTP2: c.HTTP2,
	}}
	for survey, text := range urls {
		if l.urls[survey], err = url.Parse(text); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// handle acknowledges a message after a 2xx.
func (l *loop) handle(ctx context.Context, msg jetstream.Msg) {
	err := l.post(ctx, msg)
	if err == nil {
		err = msg.Ack()
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "deliver:", err)
	}
}

func (l *loop) post(ctx context.Context, msg jetstream.Msg) error {
	subject, body := msg.Subject(), msg.Data()
	req := &http.Request{
		Method: http.MethodPost, URL: l.urls[subject[strings.LastIndexByte(subject, '.')+1:]],
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/json"}, delivery.HeaderSignature: {delivery.Sign(l.secret, body)}},
	}
	resp, err := l.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
