package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/popsee/webhooks/delivery"
)

// maxReceived is what the development receiver reads of a body: the largest
// event that can be configured.
const maxReceived = 8 << 20

// receiver is a receiver to develop against: it verifies, shows, and answers
// as it was told.
type receiver struct {
	secret    delivery.Secret // zero: signatures are not checked
	status    int             // for a good request
	failFirst int             // so many are answered 503
	delay     time.Duration
	hang      bool
	print     func(received)

	mu   sync.Mutex // guards the rest
	seen int
}

// received is one request as it is shown.
type received struct {
	At       time.Time   `json:"at"`
	ID       string      `json:"id"`
	Attempt  string      `json:"attempt"`
	Verdict  string      `json:"verdict"` // of the signature
	Answered int         `json:"answered"`
	Headers  http.Header `json:"headers"`
	Body     string      `json:"body"`

	verified bool
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	q := received{
		At: time.Now(), ID: req.Header.Get(delivery.HeaderDelivery), Attempt: req.Header.Get(delivery.HeaderAttempt),
		Headers: req.Header, Body: string(body),
	}
	q.Verdict, q.verified = r.verify(req, body)
	q.Answered = r.answer(req, q.verified)
	r.show(q)
	if !r.wait(req) {
		return
	}
	w.WriteHeader(q.Answered)
}

// verify says what the signature is worth.
func (r *receiver) verify(req *http.Request, body []byte) (string, bool) {
	if r.secret.IsZero() {
		return "signature not checked", true
	}
	signature := req.Header.Get(delivery.HeaderSignature)
	if delivery.Verify(r.secret, signature, body) != nil {
		d := delivery.Diagnose(r.secret, signature, body)
		return "NOT VERIFIED: " + d.Problem + " (" + d.Advice + ")", false
	}
	return "signature verified", true
}

func (r *receiver) answer(req *http.Request, verified bool) int {
	r.mu.Lock()
	r.seen++
	n := r.seen
	r.mu.Unlock()
	switch {
	case req.Method != http.MethodPost:
		return http.StatusMethodNotAllowed
	case !verified:
		return http.StatusUnauthorized
	case n <= r.failFirst:
		return http.StatusServiceUnavailable
	default:
		return r.status
	}
}

// show prints one request at a time, before it is answered.
func (r *receiver) show(q received) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.Body = strings.ToValidUTF8(q.Body, "�")
	r.print(q)
}

// wait delays the answer; it says false when there is nobody left to answer.
func (r *receiver) wait(req *http.Request) bool {
	if r.hang {
		<-req.Context().Done()
		return false
	}
	if r.delay == 0 {
		return true
	}
	t := time.NewTimer(r.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-req.Context().Done():
		return false
	}
}
