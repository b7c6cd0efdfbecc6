package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Editor reads and writes endpoints in their bucket directly. It needs no
// watch, and holds nothing: it is for who wants one endpoint once, and it is
// the only place that writes.
type Editor struct {
	kv    jetstream.KeyValue
	rules delivery.Rules
}

// NewEditor makes an editor of a bucket. Endpoints that break the rules are
// not written.
func NewEditor(kv jetstream.KeyValue, rules delivery.Rules) *Editor {
	return &Editor{kv: kv, rules: rules}
}

// Get reads an endpoint. A stored value that is not valid comes as far as it
// could be read, with its revision, and an [ErrInvalidEndpoint], so that it can
// be shown and replaced.
func (e *Editor) Get(ctx context.Context, s events.Survey) (Endpoint, error) {
	entry, err := e.kv.Get(ctx, string(s))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Endpoint{}, noEndpoint(s)
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("%w: get survey %s: %w", ErrUnavailable, s, err)
	}
	return readEndpoint(s, entry.Revision(), entry.Value(), e.rules)
}

// noEndpoint is an ErrNoEndpoint of one survey. It is not made by fmt because
// most surveys may have no webhook, and then it is made for most events.
type noEndpoint events.Survey

func (s noEndpoint) Error() string { return "survey " + string(s) + ": " + ErrNoEndpoint.Error() }
func (s noEndpoint) Unwrap() error { return ErrNoEndpoint }

// readEndpoint is ParseEndpoint for a stored value.
func readEndpoint(s events.Survey, revision uint64, value []byte, rules delivery.Rules) (Endpoint, error) {
	ep, err := decodeEndpoint(s, value)
	ep.Survey, ep.Revision = s, revision
	if err == nil {
		err = ep.Validate(rules)
	}
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		invalid.Revision = revision
	}
	return ep, err
}

// Put writes an endpoint if its revision is still the one it has in the bucket,
// 0 meaning that there must be none, and returns it with its new revision. It
// is durable on return. An [ErrConflict] means that somebody else wrote first:
// get it again, and decide again.
func (e *Editor) Put(ctx context.Context, ep Endpoint) (Endpoint, error) {
	stored, _, err := e.put(ctx, ep)
	return stored, err
}

func (e *Editor) put(ctx context.Context, ep Endpoint) (Endpoint, []byte, error) {
	ep.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
	if err := ep.Validate(e.rules); err != nil {
		return Endpoint{}, nil, err
	}
	value, err := ep.Encode()
	if err != nil {
		return Endpoint{}, nil, err
	}
	revision, err := e.write(ctx, ep, value)
	if err != nil {
		return Endpoint{}, nil, writeError("put", ep.Survey, err)
	}
	ep.Revision = revision
	return ep, value, nil
}

func (e *Editor) write(ctx context.Context, ep Endpoint, value []byte) (uint64, error) {
	if ep.Revision == 0 {
		return e.kv.Create(ctx, string(ep.Survey), value)
	}
	return e.kv.Update(ctx, string(ep.Survey), value, ep.Revision)
}

// writeError tells a lost race from a bucket that cannot be written.
func writeError(what string, s events.Survey, err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("%s endpoint of survey %s: %w", what, s, ErrConflict)
	}
	return fmt.Errorf("%s endpoint of survey %s: %w: %w", what, s, ErrUnavailable, err)
}

// Remove deletes an endpoint if its revision is still the given one; 0 removes
// whichever is there. Without an endpoint it is an [ErrNoEndpoint].
func (e *Editor) Remove(ctx context.Context, s events.Survey, revision uint64) error {
	if revision == 0 {
		ep, err := e.Get(ctx, s)
		if err != nil && !errors.Is(err, ErrInvalidEndpoint) {
			return err
		}
		revision = ep.Revision
	}
	if err := e.kv.Delete(ctx, string(s), jetstream.LastRevision(revision)); err != nil {
		return writeError("remove", s, err)
	}
	return nil
}

// List gives all endpoints as they come, oldest write first, without holding
// them. One that is not valid comes with its survey, its revision and an
// [ErrInvalidEndpoint]; any other error is the last.
func (e *Editor) List(ctx context.Context) iter.Seq2[Endpoint, error] {
	return func(yield func(Endpoint, error) bool) {
		watching, cancel := context.WithCancel(ctx)
		w, err := e.kv.WatchAll(watching, jetstream.IgnoreDeletes())
		if err != nil {
			cancel()
			yield(Endpoint{}, fmt.Errorf("list endpoints: %w: %w", ErrUnavailable, err))
			return
		}
		defer stopWatch(cancel, w)
		for entry := range w.Updates() {
			if entry == nil {
				return // all that was there when the watch began
			}
			s, err := events.ParseSurvey(entry.Key())
			if err != nil {
				continue // not one of ours, and no event will ever look for it
			}
			if !yield(readEndpoint(s, entry.Revision(), entry.Value(), e.rules)) {
				return
			}
		}
		yield(Endpoint{}, fmt.Errorf("list endpoints: %w: %w", ErrUnavailable, cmp.Or(ctx.Err(), errWatchClosed)))
	}
}

// stopWatch ends a watch by its context and waits until it has gone. The channel
// is emptied because the watch may be waiting to write to it.
func stopWatch(cancel context.CancelFunc, w jetstream.KeyWatcher) {
	cancel()
	for range w.Updates() {
		continue
	}
}
