package consumer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/popsee/webhooks/delivery"
)

// receiver is one survey owner's server: it answers as a story tells it and
// remembers what it was sent.
type receiver struct {
	mu       sync.Mutex // guards the rest
	script   []answer   // the last one repeats
	requests []request
	refuses  map[string]int // status by event id, whatever the script says
}

// answer is how one request is answered.
type answer struct {
	status int
	after  time.Duration
	header map[string]string
}

// request is what the receiver saw.
type request struct {
	at      time.Time
	id      string
	attempt string
	body    string
	header  http.Header
	status  int // what it answered; 0 while it has not
}

// answers scripts the statuses of the next requests; the last one repeats.
func (r *receiver) answers(statuses ...int) *receiver {
	script := make([]answer, len(statuses))
	for i, s := range statuses {
		script[i] = answer{status: s}
	}
	return r.follows(script...)
}

func (r *receiver) follows(script ...answer) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = script
	return r
}

func (r *receiver) next() answer {
	if len(r.script) == 0 {
		return answer{status: http.StatusOK}
	}
	a := r.script[0]
	if len(r.script) > 1 {
		r.script = r.script[1:]
	}
	return a
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	a := r.next()
	if status := r.refuses[req.Header.Get(delivery.HeaderDelivery)]; status != 0 {
		a = answer{status: status}
	}
	n := len(r.requests)
	r.requests = append(r.requests, request{
		at: time.Now(), id: req.Header.Get(delivery.HeaderDelivery), attempt: req.Header.Get(delivery.HeaderAttempt),
		body: string(body), header: req.Header.Clone(),
	})
	r.mu.Unlock()
	if a.after > 0 {
		t := time.NewTimer(a.after)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
			return
		}
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	r.mu.Lock()
	r.requests[n].status = a.status
	r.mu.Unlock()
	w.WriteHeader(a.status)
}

// seen returns a copy of what the receiver was sent.
func (r *receiver) seen() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// accepted counts the 2xx answers given for one event.
func (r *receiver) accepted(id string) int {
	n := 0
	for _, q := range r.seen() {
		if q.id == id && q.status >= 200 && q.status <= 299 {
			n++
		}
	}
	return n
}

// tries are the requests for one event.
func (r *receiver) tries(id string) (all []request) {
	for _, q := range r.seen() {
		if q.id == id {
			all = append(all, q)
		}
	}
	return all
}

// acceptedInAll counts the events that got a 2xx.
func (r *receiver) acceptedInAll() int {
	ids := map[string]bool{}
	for _, q := range r.seen() {
		if q.status >= 200 && q.status <= 299 {
			ids[q.id] = true
		}
	}
	return len(ids)
}

// mostAtOnce is how many requests overlapped at most, each taking so long.
func (r *receiver) mostAtOnce(took time.Duration) int {
	seen, most := r.seen(), 0
	for _, q := range seen {
		n := 0
		for _, other := range seen {
			if !other.at.After(q.at) && other.at.Add(took).After(q.at) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// internet is where all receivers of a story live: an HTTP server on in-memory
// pipes, reached by the path's first element.
type internet struct {
	mu        sync.Mutex // guards receivers
	receivers map[string]*receiver
	nameless  bool // its name service does not answer; guarded by mu
	conns     chan net.Conn
	server    *http.Server
	done      chan struct{}
}

func newInternet() *internet {
	in := &internet{receivers: map[string]*receiver{}, conns: make(chan net.Conn), done: make(chan struct{})}
	in.server = &http.Server{Handler: in, ReadHeaderTimeout: time.Minute}
	go func() { _ = in.server.Serve(in) }()
	return in
}

func (in *internet) at(survey string) *receiver {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.receivers[survey] == nil {
		in.receivers[survey] = &receiver{}
	}
	return in.receivers[survey]
}

// move hands what one receiver saw to another: they are one owner's.
func (in *internet) move(from, to string) {
	old, target := in.at(from), in.at(to)
	seen := old.seen()
	in.mu.Lock()
	delete(in.receivers, from)
	in.mu.Unlock()
	target.mu.Lock()
	defer target.mu.Unlock()
	target.requests = append(target.requests, seen...)
}

func (in *internet) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	in.at(strings.Trim(req.URL.Path, "/")).ServeHTTP(w, req)
}

// dial connects a client to the internet.
func (in *internet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	in.mu.Lock()
	nameless := in.nameless
	in.mu.Unlock()
	if nameless {
		host, _, _ := net.SplitHostPort(address)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}}
	}
	near, far := net.Pipe()
	select {
	case in.conns <- far:
		return near, nil
	case <-in.done:
		return nil, errors.New("the internet is gone")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// loseNames takes the name service away, or gives it back.
func (in *internet) loseNames(lost bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.nameless = lost
}

// Accept, Close and Addr make the internet a listener.
func (in *internet) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.done:
		return nil, net.ErrClosed
	}
}

func (in *internet) Close() error {
	select {
	case <-in.done:
	default:
		close(in.done)
	}
	return nil
}

func (in *internet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// forget drops what was seen of one event, for stories in which its stream goes.
func (r *receiver) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.requests[:0]
	for _, q := range r.requests {
		if q.id != id {
			kept = append(kept, q)
		}
	}
	r.requests = kept
}
