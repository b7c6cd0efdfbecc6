package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// receiverCommand is every survey owner's server: one listener a host.
type receiverCommand struct {
	Scenario    string `required:"" type:"path"`
	Certificate string `type:"path" help:"Certificate and key of the receivers, where they speak HTTPS."`
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
	collectSeldom()
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
	if a.Control, err = serve(ctx, "127.0.0.1", &http.Server{Handler: control}); err != nil {
		return err
	}
	if a.Hosts, err = c.hosts(ctx, r); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// hosts opens the scenario's hosts and says where they are: a port each, or an
// address each on one port.
func (c *receiverCommand) hosts(ctx context.Context, r *receiver) ([]string, error) {
	if r.s.OwnHosts {
		return c.addresses(ctx, r)
	}
	var all []string
	for range r.s.hosts() {
		host, err := c.host(ctx, "127.0.0.1", r)
		if err != nil {
			return nil, err
		}
		all = append(all, host)
	}
	return all, nil
}

// addresses makes as many hosts of one listener: all of 127.0.0.0/8 is this machine.
func (c *receiverCommand) addresses(ctx context.Context, r *receiver) ([]string, error) {
	at, err := c.host(ctx, "0.0.0.0", r)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	all := make([]string, r.s.hosts())
	for i := range all {
		all[i] = fmt.Sprintf("127.%d.%d.%d:%s", 1+i/40_000, i/200%200, 1+i%200, port)
	}
	return all, nil
}

// host opens one host.
func (c *receiverCommand) host(ctx context.Context, address string, r *receiver) (string, error) {
	srv := &http.Server{Handler: r}
	if c.Certificate != "" {
		if err := encrypt(srv, r.s, c.Certificate); err != nil {
			return "", err
		}
	}
	return serve(ctx, address, srv)
}

// serve listens on a port of its own; the end of the process ends it.
func serve(ctx context.Context, address string, srv *http.Server) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", address+":0")
	if err != nil {
		return "", err
	}
	srv.ReadHeaderTimeout, srv.BaseContext = time.Minute, func(net.Listener) context.Context { return ctx }
	go func() {
		if srv.TLSConfig != nil {
			_ = srv.ServeTLS(l, "", "")
			return
		}
		_ = srv.Serve(l)
	}()
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
	if req.ProtoMajor == 2 {
		r.counts.http2.Add(1)
	}
	k := r.s.kind(s)
	if r.mended[s].Load() {
		k = healthy
	}
	if err := r.counts.add(now, s, k, body, req.Header.Get(delivery.HeaderReplay) != ""); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch k {
	case hanging:
		<-req.Context().Done()
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
	case healthy:
		if r.s.Latency > 0 {
			_ = process.Sleep(req.Context(), r.s.Latency) // or whoever asked has gone
		}
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
