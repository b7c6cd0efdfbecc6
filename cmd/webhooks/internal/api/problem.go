package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
)

// problem is an error as it is answered: RFC 9457, with type about:blank.
type problem struct {
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail,omitempty"`
	Hint   string   `json:"hint,omitempty"`   // what to do about it
	Errors []string `json:"errors,omitempty"` // every fault of a webhook that is not valid
}

// Error gives the detail.
func (p problem) Error() string { return p.Detail }

func badRequest(detail string) problem {
	return problem{Title: "Bad request", Status: http.StatusBadRequest, Detail: detail}
}

func changed(detail string) problem {
	return problem{Title: "Changed meanwhile", Status: http.StatusPreconditionFailed, Detail: detail, Hint: "get it again, and decide again"}
}

// problemOf says how an error is answered: the only place that does. What is not
// known here is not quoted, since it may be anything.
func problemOf(err error) problem {
	if p, ok := errors.AsType[problem](err); ok {
		return p
	}
	if p, ok := replayProblem(err); ok {
		return p
	}
	p := problem{Detail: err.Error(), Hint: config.Hint(err)}
	switch {
	case errors.Is(err, config.ErrNoEndpoint):
		p.Title, p.Status = "No webhook", http.StatusNotFound
	case errors.Is(err, config.ErrConflict):
		return changed(err.Error())
	case errors.Is(err, config.ErrInvalidEndpoint):
		p.Title, p.Status, p.Errors = "Not a valid webhook", http.StatusUnprocessableEntity, faultsOf(err)
	case errors.Is(err, config.ErrUnsealable):
		p.Title, p.Status = "The secret cannot be opened", http.StatusConflict
	case unavailable(err):
		p.Title, p.Status = "NATS cannot be asked", http.StatusServiceUnavailable
		p.Hint = "try again; when it stays so, look at /readyz"
	default:
		return problem{Title: "Internal error", Status: http.StatusInternalServerError, Detail: "this should not happen; the service's log has the cause"}
	}
	return p
}

func unavailable(err error) bool {
	for _, is := range []error{
		config.ErrUnavailable, context.DeadlineExceeded, context.Canceled, jetstream.ErrBucketNotFound, jetstream.ErrStreamNotFound, nats.ErrNoResponders,
		nats.ErrConnectionClosed, nats.ErrTimeout, nats.ErrConnectionReconnecting, nats.ErrDisconnected, nats.ErrReconnectBufExceeded,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func faultsOf(err error) []string {
	faults, ok := errors.AsType[config.Faults](err)
	if !ok {
		return nil
	}
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.Error()
	}
	return texts
}

func write(w http.ResponseWriter, p problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whoever asked has gone
}

func (a reply) write(w http.ResponseWriter) {
	if a.revision != 0 {
		w.Header().Set("ETag", strconv.Quote(strconv.FormatUint(a.revision, 10)))
	}
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	w.Header().Set("Cache-Control", "no-store")
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // whoever asked has gone
}
