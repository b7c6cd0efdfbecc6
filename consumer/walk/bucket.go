package walk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket opens a key-value bucket for looking at. Where this account may make no
// reader, what watches and lists in it gives what is there, without what was
// removed, and ends: nobody is told of what comes later.
func Bucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return nil, err
	}
	return bucket{kv, js}, nil
}

type bucket struct {
	jetstream.KeyValue
	js jetstream.JetStream
}

// WatchAll is that of the bucket, or of what is there now.
func (b bucket) WatchAll(ctx context.Context, o ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	w, err := b.KeyValue.WatchAll(ctx, o...)
	if !barred(b.js, err) {
		return w, err
	}
	entries, err := b.now(ctx)
	if err != nil {
		return nil, err
	}
	s := snapshot{make(chan jetstream.KeyValueEntry, len(entries)+1), make(chan string, len(entries))}
	for _, e := range entries {
		s.entries <- e
		s.keys <- e.key
	}
	s.entries <- nil
	close(s.entries)
	close(s.keys)
	return s, nil
}

// ListKeys is that of the bucket, or of what is there now.
func (b bucket) ListKeys(ctx context.Context, o ...jetstream.WatchOpt) (jetstream.KeyLister, error) {
	l, err := b.KeyValue.ListKeys(ctx, o...)
	if !barred(b.js, err) {
		return l, err
	}
	w, err := b.WatchAll(ctx)
	if err != nil {
		return nil, err
	}
	s, ok := w.(snapshot)
	if !ok {
		_ = w.Stop()
		return nil, fmt.Errorf("list the keys of bucket %s: readers came to be allowed meanwhile; try again", b.Bucket())
	}
	return lister{s}, nil
}

// now reads the newest of each key, oldest first. It reads on until nothing
// follows: what is written meanwhile stands behind the end there was.
func (b bucket) now(ctx context.Context) ([]entry, error) {
	prefix := "$KV." + b.Bucket() + "."
	stream, err := b.js.Stream(ctx, "KV_"+b.Bucket())
	if err != nil {
		return nil, fmt.Errorf("look at bucket %s: %w", b.Bucket(), err)
	}
	newest := map[string]entry{}
	w := &walker{js: b.js, name: "KV_" + b.Bucket(), o: Options{Bodies: true, Page: headPage}, end: untilNothingFollows}
	err = w.direct(ctx, stream, nil, func(m Message) bool {
		key := strings.TrimPrefix(m.Subject, prefix)
		delete(newest, key)
		if m.Header.Get(operationHeader) == "" && m.Header.Get(jetstream.MarkerReasonHeader) == "" {
			newest[key] = entry{b.Bucket(), key, m.Body, m.Sequence, m.Time}
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", b.Bucket(), err)
	}
	entries := make([]entry, 0, len(newest))
	for _, e := range newest {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.revision, b.revision) })
	return entries, nil
}

// operationHeader is there where a key was removed.
const operationHeader = "KV-Operation"

// snapshot is a watch that has ended: everything, and nil.
type snapshot struct {
	entries chan jetstream.KeyValueEntry
	keys    chan string
}

func (s snapshot) Updates() <-chan jetstream.KeyValueEntry { return s.entries }
func (s snapshot) Error() <-chan error                     { return nil }
func (s snapshot) Stop() error                             { return nil }

type lister struct{ snapshot }

func (l lister) Keys() <-chan string { return l.keys }

// entry is a key's newest value.
type entry struct {
	bucket, key string
	value       []byte
	revision    uint64
	created     time.Time
}

func (e entry) Bucket() string                  { return e.bucket }
func (e entry) Key() string                     { return e.key }
func (e entry) Value() []byte                   { return e.value }
func (e entry) Revision() uint64                { return e.revision }
func (e entry) Created() time.Time              { return e.created }
func (e entry) Delta() uint64                   { return 0 }
func (e entry) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }
