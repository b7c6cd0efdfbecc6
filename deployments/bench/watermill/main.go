// Command watermill is what a Go team would write with Watermill: its JetStream
// subscriber, a well-set HTTP client, and an acknowledgement after a 2xx. It is
// measured beside the service, and a module of its own, so that Watermill is no
// dependency of the product.
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjs "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	var w worker
	flag.StringVar(&w.nats, "nats", "", "NATS server")
	flag.StringVar(&w.consumer, "consumer", "", "durable consumer on RESPONSES")
	flag.IntVar(&w.subscriptions, "workers", 256, "subscriptions, each handling one message at a time")
	urls := flag.String("urls", "", "file with each survey's URL")
	secret := flag.String("secret", "", "what is signed with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w.secret = []byte(*secret)
	if err := errors.Join(w.read(*urls), w.run(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// worker delivers what Watermill hands it.
type worker struct {
	nats, consumer string
	subscriptions  int
	secret         []byte
	urls           map[string]string
	client         *http.Client
}

func (w *worker) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	w.client = &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: w.subscriptions, IdleConnTimeout: time.Minute, DisableCompression: true},
	}
	return json.Unmarshal(b, &w.urls)
}

// run subscribes many times, because one subscription handles one message at a
// time, and all of them share the durable.
func (w *worker) run(ctx context.Context) error {
	subscriber, err := wmjs.NewSubscriber(wmjs.SubscriberConfig{
		URL: w.nats, Logger: watermill.NopLogger{}, AckAsync: true,
		ResourceInitializer: wmjs.ExistingConsumer(func(string, string) jetstream.ConsumerConfig {
			return jetstream.ConsumerConfig{Name: w.consumer}
		}, ""),
		ConsumeOptions: []jetstream.PullConsumeOpt{jetstream.PullMaxMessages(4)},
	})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range w.subscriptions {
		msgs, err := subscriber.Subscribe(ctx, "RESPONSES")
		if err != nil {
			return err
		}
		all.Go(func() {
			for msg := range msgs {
				w.handle(ctx, msg)
			}
		})
	}
	<-ctx.Done()
	err = subscriber.Close()
	all.Wait()
	return err
}

func (w *worker) handle(ctx context.Context, msg *message.Message) {
	if err := w.post(ctx, msg.Payload); err != nil {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "deliver:", err)
		}
		msg.Nack()
		return
	}
	msg.Ack()
}

// post finds the survey in the body: Watermill's message does not tell the subject.
func (w *worker) post(ctx context.Context, body []byte) error {
	var event struct {
		Survey struct {
			ID string `json:"id"`
		} `json:"survey"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.urls[event.Survey.ID], bytes.NewReader(body))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, w.secret)
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Popsee-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := w.client.Do(req)
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
