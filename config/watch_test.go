package config

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// arrived is an entry of a watch.
type arrived struct {
	jetstream.KeyValueEntry

	revision uint64
}

func (a arrived) Key() string                     { return "s1" }
func (a arrived) Revision() uint64                { return a.revision }
func (a arrived) Value() []byte                   { return []byte("{}") }
func (a arrived) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

// What a pass has yet to bring may be purged while the connection is away; then the
// watch goes on, and never says that all has come.
func TestAPassThatNobodyEndsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{table: newTable(shardCount, 1000, nil), notes: newNotifier(nil)}
		defer s.table.free()
		f := &follower{store: s, generation: s.table.begin()}
		updates, began := make(chan jetstream.KeyValueEntry), time.Now()
		const slow, entries = passTime - time.Second, 3
		go func() {
			for i := range uint64(entries) {
				time.Sleep(slow)
				updates <- arrived{revision: i + 1}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := f.pass(ctx, updates); !errors.Is(err, errPassSilent) {
			t.Errorf("the pass ended with %v, want %v", err, errPassSilent)
		}
		if took, want := time.Since(began), entries*slow+passTime; took != want {
			t.Errorf("the pass took %s, want %s: what comes slowly is waited for", took, want)
		}
		if f.seen != entries {
			t.Errorf("%d entries were taken, want %d", f.seen, entries)
		}
	})
}
