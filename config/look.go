package config

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
)

// How long a look at the bucket may take, how soon a failed one is repeated,
// and how long the watch may need to reach what was seen.
const (
	lookTime  = 5 * time.Second
	retryLook = time.Second
	catchUp   = 10 * time.Second
	lookGap   = 5 * time.Millisecond   // between looks that are waited for: each answers everybody who came before it, for 0.5 ms of CPU
	newLeader = 100 * time.Millisecond // a new leader answers before it has stored all that was confirmed
)

// bucketState tells one bucket from another of the same name, and from itself
// at another time.
type bucketState struct {
	created time.Time
	leader  string // of several replicas
	lastSeq uint64
	keys    uint64 // delete markers included
}

// errLeaderless refuses the word of a server that may not have all that was stored.
var errLeaderless = errors.New("look at bucket: it has no leader")

func lookAt(ctx context.Context, kv jetstream.KeyValue) (bucketState, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return bucketState{}, fmt.Errorf("look at bucket: %w", err)
	}
	return stateOf(status.(*jetstream.KeyValueBucketStatus).StreamInfo()) // the interface has neither Created nor the sequences
}

func stateOf(info *jetstream.StreamInfo) (bucketState, error) {
	var led string
	if info.Config.Replicas > 1 {
		if info.Cluster == nil || info.Cluster.Leader == "" {
			return bucketState{}, errLeaderless
		}
		led = info.Cluster.Leader
	}
	return bucketState{created: info.Created, leader: led, lastSeq: info.State.LastSeq, keys: info.State.NumSubjects}, nil
}

// look is what was seen of the bucket, and when.
type look struct {
	bucket     bucketState
	at         time.Time // before the question: what the answer says was true no earlier
	reconnects uint64
	err        error
}

// looker looks at the bucket in the background, once at a time, so that the
// watch never waits for an answer.
type looker struct {
	ctx    context.Context
	cancel context.CancelFunc
	kv     jetstream.KeyValue
	conn   *nats.Conn
	panics *panics.Guard
	done   chan look
	wg     sync.WaitGroup

	// only its caller's goroutine looks at these
	busy   bool
	lost   bool               // the look that is under way: its answer will not come
	began  time.Time          // the last look
	giveUp context.CancelFunc // ends it
}

func newLooker(ctx context.Context, kv jetstream.KeyValue, conn *nats.Conn, guard *panics.Guard) *looker {
	l := &looker{kv: kv, conn: conn, panics: guard, done: make(chan look, 1)}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// begin starts a look unless one is under way. Its result arrives on done.
func (l *looker) begin() {
	if l.busy {
		return
	}
	l.busy, l.lost, l.began = true, false, time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, lookTime)
	l.giveUp = cancel
	l.wg.Go(func() {
		defer cancel()
		result := look{at: time.Now(), reconnects: l.conn.Stats().Reconnects}
		result.err = l.panics.Try(panics.PlaceEndpoints, func() (err error) {
			result.bucket, err = lookAt(ctx, l.kv)
			return err
		})
		l.done <- result
	})
}

// beginAnew begins a look after the connection was away: what was asked before that is
// answered no more.
func (l *looker) beginAnew() {
	if l.lost = l.busy; l.lost {
		l.giveUp()
		return
	}
	l.begin()
}

func (l *looker) close() {
	l.cancel()
	l.wg.Wait()
}
