package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
)

type listenCommand struct {
	Listen     string        `name:"listen" default:"127.0.0.1:9000" placeholder:"ADDRESS" help:"Where to listen (default: ${default})."`
	SecretFile string        `name:"secret-file" placeholder:"FILE" help:"File with the endpoint's secret, or -; without it signatures are shown and not checked."`
	Status     int           `name:"status" default:"200" placeholder:"CODE" help:"Status to answer a good request with (default: ${default})."`
	FailFirst  int           `name:"fail-first" placeholder:"N" help:"Answer the first N requests with 503."`
	Delay      time.Duration `name:"delay" placeholder:"DURATION" help:"Wait before answering."`
	Hang       bool          `name:"hang" help:"Never answer."`
	JSON       bool          `name:"json" help:"Print JSON, one request a line."`
}

// Run receives webhooks until it is told to stop.
func (c *listenCommand) Run(w *world) error {
	if c.Status < 100 || c.Status > 599 {
		return usage{withHint("statuses are 100 to 599", "--status %d is not an HTTP status", c.Status)}
	}
	r := &receiver{print: printRequest(w), status: c.Status, failFirst: c.FailFirst, delay: c.Delay, hang: c.Hang}
	if c.JSON {
		r.print = func(q received) { _ = w.printJSON(q) }
	}
	if c.SecretFile != "" {
		secret, err := w.readSecret(c.SecretFile)
		if err != nil {
			return err
		}
		r.secret = secret
	}
	l, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", c.Listen)
	if err != nil {
		return withHint("choose another address with --listen", "listen on %s: %w", c.Listen, err)
	}
	if !c.JSON {
		w.printf("listening on http://%s/ — point an endpoint here with:\n  webhooks endpoint set <survey id> --url http://%s/ --allow-insecure-endpoints\n", l.Addr(), l.Addr())
		if r.secret.IsZero() {
			w.printf("no --secret-file: signatures are shown, not checked\n")
		}
	}
	return serve(w.ctx, l, w.surviving(r))
}

// surviving answers a request that panics with 500, and says where. net/http would
// survive it too, and hand what the panic says to the standard logger.
func (w *world) surviving(h http.Handler) http.Handler {
	var unheard *panics.Guard
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		defer unheard.Catch(panics.PlaceAdmin, func(p *panics.Panic) {
			w.fail(p)
			http.Error(rw, "a mistake of the receiver's own; it says more where it runs", http.StatusInternalServerError)
		})
		h.ServeHTTP(rw, req)
	})
}

// serve answers until ctx ends; requests in hand are cut off then.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		err := s.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
}

// printRequest shows a request for a person.
func printRequest(w *world) func(received) {
	return func(q received) {
		w.printf("\n%s  attempt %s of %s  %s\n", q.At.Format("15:04:05.000"), q.Attempt, q.ID, q.Verdict)
		for _, name := range []string{
			delivery.HeaderEvent, delivery.HeaderTest, delivery.HeaderReplay, delivery.HeaderSignature,
			delivery.HeaderStandardID, delivery.HeaderStandardTimestamp, delivery.HeaderStandardSignature, "User-Agent", "Content-Type",
		} {
			if v := q.Headers.Get(name); v != "" {
				w.printf("  %s: %s\n", name, v)
			}
		}
		w.printf("  %s\n  answered %d\n", q.Body, q.Answered)
	}
}
