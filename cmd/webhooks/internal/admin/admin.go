// Package admin serves health, metrics and the admin API over HTTP.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/popsee/webhooks/delivery/panics"
)

// Limits on the requests of whoever scrapes or probes.
const (
	headerTime  = 5 * time.Second
	requestTime = 30 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 16 << 10
	scrapes     = 4 // at the same time; gathering costs more than asking
)

// Options say what is served.
type Options struct {
	Listen   string              // host:port
	Version  string              // of the program
	Token    string              // a bearer token asked for everything but health; empty asks for none
	Live     func() error        // progress, not mere existence
	Ready    func() error        // why nothing is delivered now; nil when it is
	Warnings []string            // unsafe modes, said wherever somebody looks
	Metrics  prometheus.Gatherer // what /metrics shows
	API      http.Handler        // answers below /v1/, behind the token; nil: nothing does
	Panics   *panics.Guard
}

// Server serves /livez, /readyz, /metrics, /version and the API below /v1/.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan error
}

// Start listens and serves until [Server.Shutdown].
func Start(ctx context.Context, o Options) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, &Problem{fmt.Errorf("the admin listener cannot listen on %s: %w", o.Listen, err)}
	}
	s := &Server{listener: l, done: make(chan error, 1), http: newHTTP(o)}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

func newHTTP(o Options) *http.Server {
	return &http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
	}
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Shutdown lets requests in hand finish, within ctx, and stops.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", o.health("live", o.Live))
	mux.HandleFunc("GET /readyz", o.health("ready", o.Ready))
	mux.Handle("GET /metrics", o.guarded(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})))
	mux.Handle("GET /version", o.guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": o.Version})
	})))
	if o.API != nil {
		mux.Handle("/v1/", o.guarded(o.API))
	}
	return o.surviving(mux)
}

// surviving answers a request that panics. net/http would survive it too, and say
// nothing to whoever asked.
func (o Options) surviving(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer o.Panics.Catch(panics.PlaceAdmin, func(*panics.Panic) {
			writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "a mistake of the service's own; its log has more"})
		})
		h.ServeHTTP(w, r)
	})
}

// guarded asks for the token. Hashing both sides makes the comparison constant
// in time whatever their lengths.
func (o Options) guarded(h http.Handler) http.Handler {
	if o.Token == "" {
		return h
	}
	want := sha256.Sum256([]byte("Bearer " + o.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "send the admin token: Authorization: Bearer …"})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// state is the body of a health answer.
type state struct {
	Status   string   `json:"status"`           // "live", "ready", or with "not " before it
	Reason   string   `json:"reason,omitempty"` // why not
	Do       string   `json:"do,omitempty"`     // what to do about it, when that is known
	Warnings []string `json:"warnings,omitempty"`
}

func (o Options) health(word string, check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		err := check()
		if err == nil {
			writeJSON(w, http.StatusOK, state{Status: word, Warnings: o.Warnings})
			return
		}
		s := state{Status: "not " + word, Reason: err.Error(), Warnings: o.Warnings}
		if h, ok := errors.AsType[interface {
			error
			Hint() string
		}](err); ok {
			s.Do = h.Hint()
		}
		writeJSON(w, http.StatusServiceUnavailable, s)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}

// Problem is a listener that could not be opened.
type Problem struct{ err error }

// Error says what went wrong.
func (p *Problem) Error() string { return p.err.Error() }

// Hint says what to do.
func (p *Problem) Hint() string {
	return "choose another address with --admin-listen, or none with --admin-listen ''"
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.err }
