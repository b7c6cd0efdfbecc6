package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/delivery"
)

// receiver is every survey owner's server: one TLS listener for each kind, because
// those that fail are on hosts of their own.
type receiver struct {
	ledgers map[string]*ledger // by the first part of the path; fixed once it serves
	secret  delivery.Secret    // of every endpoint
	hosts   [stranger]*httptest.Server
	turn    atomic.Int64 // which half of the flapping endpoints fails
	mended  atomic.Bool  // all of them work

	mu      sync.Mutex // guards what follows
	foreign int        // requests that should not have come, since they were asked for
	wrong   []string   // with the first of them
}

// fewForeign is how many requests that should not have come are told of.
const fewForeign = 5

func newReceiver(ledgers ...*ledger) (*receiver, error) {
	secret, err := delivery.NewSecret(sharedSecret)
	if err != nil {
		return nil, err
	}
	r := &receiver{ledgers: map[string]*ledger{}, secret: secret}
	for _, l := range ledgers {
		r.ledgers[l.name] = l
	}
	for k := range r.hosts {
		s := httptest.NewUnstartedServer(r)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // whoever is killed says nothing politely
		s.StartTLS()
		r.hosts[k] = s
	}
	return r, nil
}

func (r *receiver) close() {
	for _, s := range r.hosts {
		s.CloseClientConnections()
		s.Close()
	}
}

// writeCA writes the certificate that all hosts are checked against.
func (r *receiver) writeCA(path string) error {
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.hosts[0].Certificate().Raw})
	return os.WriteFile(path, b, 0o600)
}

// url is where a survey's events go.
func (r *receiver) url(l *ledger, survey int) string {
	return r.hosts[kindOf(survey)].URL + "/" + l.name + "/" + strconv.Itoa(survey)
}

// ServeHTTP takes one webhook. One that should not have come to this endpoint is answered
// as any other, and what it says is delivered is not.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name, number, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	l, s := r.ledgers[name], atoi(number)
	if l == nil || s < 0 || s >= withOne {
		r.complain(fmt.Errorf("a request came for %q, where no endpoint is", req.URL.Path))
		http.NotFound(w, req)
		return
	}
	if kindOf(s) != hanging || r.mended.Load() { // what hangs never gets a 2xx
		defer l.begin()()
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	i, err := r.examine(l, s, req, body)
	if err != nil {
		r.complain(err)
	}
	status := r.answer(req, s)
	if status == http.StatusOK && err == nil {
		l.accept(i)
	}
	w.WriteHeader(status)
}

// examine finds the event that a survey's endpoint was sent. An error says why that is
// not what its owner is to get: another's event, other bytes, another host, or a
// signature that does not verify.
func (r *receiver) examine(l *ledger, survey int, req *http.Request, body []byte) (int, error) {
	id := req.Header.Get(delivery.HeaderDelivery)
	i, err := l.published(id, survey, body)
	if err != nil {
		return 0, err
	}
	if err := delivery.Verify(r.secret, req.Header.Get(delivery.HeaderSignature), body); err != nil {
		return 0, fmt.Errorf("event %s came to %s: %w", id, surveyID(survey), err)
	}
	want := r.hosts[kindOf(survey)].Listener.Addr()
	if at, _ := req.Context().Value(http.LocalAddrContextKey).(net.Addr); at == nil || at.String() != want.String() {
		return 0, fmt.Errorf("event %s of survey %s came to the host %v, not to %v", id, surveyID(survey), at, want)
	}
	return i, nil
}

// complain counts a request that should not have come.
func (r *receiver) complain(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foreign++
	if len(r.wrong) < fewForeign {
		r.wrong = append(r.wrong, err.Error())
	}
}

// complaints are about the requests that should not have come since this was asked last.
func (r *receiver) complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, wrong := r.foreign, r.wrong
	r.foreign, r.wrong = 0, nil
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d requests should not have come: %s", n, strings.Join(wrong, "; "))}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// works says whether a flapping endpoint works now.
func (r *receiver) works(survey int) bool { return int64(survey)%2 != r.turn.Load()%2 }

// answer is what a survey's endpoint says now. It takes some milliseconds.
func (r *receiver) answer(req *http.Request, survey int) int {
	time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	if r.mended.Load() {
		return http.StatusOK
	}
	switch kindOf(survey) {
	case flapping:
		if !r.works(survey) {
			return http.StatusInternalServerError
		}
	case hanging:
		<-req.Context().Done()
		return http.StatusInternalServerError
	case busy:
		return http.StatusServiceUnavailable
	case leaving:
		return http.StatusGone
	case steady, stranger:
	}
	return http.StatusOK
}
