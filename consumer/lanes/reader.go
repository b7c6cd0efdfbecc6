package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	feedRest  = 100 * time.Millisecond // before the next pull: for an event by itself the server and this do some ten times as much as for one of many (measured)
	feedMost  = 1000                   // events of one pull, which all are in memory until they are passed on
	feedBeat  = 5 * time.Second        // an idle feed hears of the server so often; after two silent ones it is read anew
	feedPull  = 10 * time.Minute       // one pull of an idle feed, which costs next to nothing
	feedStuck = 5 * time.Second        // more was counted, and nothing comes
)

// Why a reading ends although the stream is the one that was read before.
var (
	errStuck  = errors.New("more was counted than comes")
	errMissed = errors.New("something was sent and has not come")
)

// reader is one reading of the stream, until something goes wrong. Its consumer counts what
// it sends, and nobody else pulls from it: so it shows when something has not come.
type reader struct {
	*feed

	shards   map[int]*shard
	cons     jetstream.Consumer
	began    time.Time
	end      uint64 // of the stream, then
	got      uint64 // messages
	left     uint64 // behind the last of them, as the server has counted
	caughtUp bool
}

// readOn pulls until that fails, or ctx ends: one message, as soon as there is one, and
// then what has come meanwhile.
func (r *reader) readOn(ctx context.Context) (err error) {
	for err == nil {
		if r.left > 0 {
			err = r.takeMany(ctx)
			continue
		}
		r.all()
		if err = r.rest(ctx); err == nil {
			err = r.waitForOne(ctx)
		}
	}
	return err
}

// all tells the shards, once, that all there was has come.
func (r *reader) all() {
	if r.caughtUp {
		return
	}
	r.caughtUp = true
	r.o.o.Log.Info().Int("shards", len(r.shards)).Uint64("entries", r.got).Dur("took", time.Since(r.began)).Msg("all waiting events are known")
	for _, s := range r.shards {
		s.feed(fed{caughtUp: true})
	}
}

// rest lets more come, unless somebody waits for it.
func (r *reader) rest(ctx context.Context) error {
	timer := time.NewTimer(feedRest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.hurry:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// waitForOne waits for the next message.
func (r *reader) waitForOne(ctx context.Context) error {
	_, err := r.pull(ctx, 1, feedPull, jetstream.FetchHeartbeat(feedBeat))
	return err
}

// takeMany takes what the server has counted.
func (r *reader) takeMany(ctx context.Context) error {
	n, err := r.pull(ctx, int(min(r.left, feedMost)), feedStuck) //nolint:gosec // at most feedMost
	if err == nil && n == 0 && r.left > 0 {
		err = errStuck
	}
	return err
}

// pull takes so many messages, or what comes of them within a time. Where less comes it may
// have been removed before it was sent; then it is counted anew.
func (r *reader) pull(ctx context.Context, want int, within time.Duration, opts ...jetstream.FetchOpt) (int, error) {
	waiting, end := context.WithTimeout(ctx, within)
	defer end()
	n, err := r.take(r.cons.Fetch(want, append(opts, jetstream.FetchContext(waiting))...))
	if err == nil && n < want {
		err = r.recount(ctx)
	}
	return n, err
}

// recount asks the server what is left after a pull that has brought less than it asked
// for. What it was sent and has not come nobody else would tell of.
func (r *reader) recount(ctx context.Context) error {
	info, err := r.cons.Info(ctx)
	switch {
	case err != nil:
		return err
	case info.Delivered.Consumer != r.got:
		return errMissed
	}
	r.left = info.NumPending
	return nil
}

// take takes what a pull brings.
func (r *reader) take(batch jetstream.MessageBatch, err error) (n int, _ error) {
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err == nil && meta.Sequence.Consumer != r.got+1 {
			err = errMissed
		}
		if err != nil {
			return n, err
		}
		seq := meta.Sequence.Stream
		n, r.got, r.left, r.last = n+1, r.got+1, meta.NumPending, max(r.last, seq)
		r.pass(msg, seq, r.shards)
		if r.left == 0 || seq >= r.end {
			r.all()
		}
	}
	return n, batch.Error()
}
