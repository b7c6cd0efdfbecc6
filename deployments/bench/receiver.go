package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// receiverCommand is every survey owner's server: one listener a host.
type receiverCommand struct {
	Scenario string `required:"" type:"path"`
}

// addresses is what the receiver prints when it listens.
type addresses struct {
	Control string   // GET /count, GET /arrivals, POST /mend/<survey>
	Hosts   []string // host:port, by the scenario's host numbers
}

// receiver answers as the scenario says, and counts.
type receiver struct {
	s      scenario
	counts *arrivals
	mended []atomic.Bool // by survey: it is healthy now, whatever the scenario says
}

// Run serves until it is told to stop.
func (c *receiverCommand) Run(ctx context.Context) error {
	s, err := readScenario(c.Scenario)
	if err != nil {
		return err
	}
	r := &receiver{s: s, counts: newArrivals(s), mended: make([]atomic.Bool, s.Surveys)}
	control := http.NewServeMux()
	control.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) { tell(w, r.counts.count()) })
	control.HandleFunc("GET /arrivals", func(w http.ResponseWriter, _ *http.Request) { tell(w, r.counts.sum(time.Now())) })
	control.HandleFunc("POST /mend/{survey}", r.mend)
	var a addresses
	if a.Control, err = serve(ctx, control); err != nil {
		return err
	}
	for range s.hosts() {
		host, err := serve(ctx, r)
		if err != nil {
			return err
		}
		a.Hosts = append(a.Hosts, host)
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serve listens on a port of its own; the end of the process ends it.
func serve(ctx context.Context, h http.Handler) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = srv.Serve(l) }()
	return l.Addr().String(), nil
}

// ServeHTTP takes one webhook; its path is the survey.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	s, err := surveyIndex(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil || s >= r.s.Surveys {
		http.NotFound(w, req)
		return
	}
	k := r.s.kind(s)
	if r.mended[s].Load() {
		k = healthy
	}
	if err := r.counts.add(now, s, k, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch k {
	case hanging:
		<-req.Context().Done()
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
	case healthy:
	}
}

func tell(w http.ResponseWriter, v any) {
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}

func (r *receiver) mend(w http.ResponseWriter, req *http.Request) {
	s, err := surveyIndex(req.PathValue("survey"))
	if err != nil || s >= r.s.Surveys {
		http.Error(w, errors.Join(err, errNoEvent).Error(), http.StatusNotFound)
		return
	}
	r.mended[s].Store(true)
}
