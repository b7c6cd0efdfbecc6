package main

import (
	"encoding/pem"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// receiver is every survey owner's server: one TLS listener for each kind, because
// those that fail are on hosts of their own.
type receiver struct {
	ledgers map[string]*ledger // by the first part of the path; fixed once it serves
	hosts   [stranger]*httptest.Server
	turn    atomic.Int64 // which half of the flapping endpoints fails
	mended  atomic.Bool  // all of them work
	foreign atomic.Int64 // requests for events nobody published
}

func newReceiver(ledgers ...*ledger) *receiver {
	r := &receiver{ledgers: map[string]*ledger{}}
	for _, l := range ledgers {
		r.ledgers[l.name] = l
	}
	for k := range r.hosts {
		s := httptest.NewUnstartedServer(r)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // whoever is killed says nothing politely
		s.StartTLS()
		r.hosts[k] = s
	}
	return r
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

// ServeHTTP takes one webhook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name, number, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	l, s := r.ledgers[name], atoi(number)
	if l == nil || s < 0 || s >= withOne {
		http.NotFound(w, req)
		return
	}
	if kindOf(s) != hanging || r.mended.Load() { // what hangs never gets a 2xx
		defer l.begin()()
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	status := r.answer(req, s)
	if status == http.StatusOK {
		if err := l.accept(req.Header.Get("X-Popsee-Delivery")); err != nil {
			r.foreign.Add(1)
		}
	}
	w.WriteHeader(status)
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
