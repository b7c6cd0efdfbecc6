package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/jsm.go"
	archive "github.com/nats-io/jsm.go/backup"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
)

const (
	answerTime = 30 * time.Second // of one request
	stalled    = 30 * time.Second // without a byte: the server that was copying has gone
	tries      = 3                // a cluster that chooses a leader refuses meanwhile
	againAfter = 2 * time.Second
)

var errStalled = fmt.Errorf("NATS sent nothing for %s", stalled)

// snapshot copies one stream, and reads what it has copied.
func (t *taker) snapshot(ctx context.Context, p place) (Archive, error) {
	info, err := t.look(ctx, p.stream)
	if err != nil {
		return Archive{}, err
	}
	folder := t.folder(p.stream)
	for try := 1; ; try++ {
		if err = os.RemoveAll(folder); err == nil {
			err = os.MkdirAll(folder, 0o700)
		}
		if err != nil {
			return Archive{}, err
		}
		err = t.fetch(ctx, p, folder, int64(info.State.Bytes)) //nolint:gosec // far from what an int64 holds
		if err == nil || ctx.Err() != nil || try == tries {
			break
		}
		wait.For(ctx, againAfter)
	}
	if err != nil {
		return Archive{}, fmt.Errorf("copy stream %s: %w", p.stream, err)
	}
	a, err := examine(ctx, folder, p, t.names.Consumer(), t.progress)
	a.Born = layout.Born(info)
	return a, err
}

func (t *taker) look(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	s, err := t.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	return s.CachedInfo(), nil
}

func (t *taker) folder(stream string) string { return filepath.Join(t.o.Folder, streamsDir, stream) }

// fetch has NATS send a stream into two files. The whole is bounded by nothing but
// that something comes.
func (t *taker) fetch(ctx context.Context, p place, folder string, size int64) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stalled, func() { cancel(errStalled) })
	defer watch.Stop()
	data, err := create(filepath.Join(folder, archive.DataFile))
	if err != nil {
		return err
	}
	data.came = func(n int64) { watch.Reset(stalled); t.progress("copying "+p.stream, n, max(size, n)) }
	meta, err := create(filepath.Join(folder, archive.MetaFile))
	if err != nil {
		return errors.Join(err, data.finish())
	}
	t.progress("copying "+p.stream, 0, size)
	stream, err := t.manager.LoadStream(p.stream)
	if err == nil {
		var opts []jsm.SnapshotOption
		if p.consumers {
			opts = append(opts, jsm.SnapshotConsumers())
		}
		_, err = stream.SnapshotToBuffer(ctx, data, meta, opts...)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return errors.Join(err, data.finish(), meta.finish(), syncFolder(folder))
}

// output is a file that NATS' copy goes into. Its Close does nothing, because the
// library drops the error: finish closes it.
type output struct {
	*os.File
	n     atomic.Int64
	came  func(n int64)
	ended atomic.Bool // what still comes after that is nobody's
}

func create(path string) (*output, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &output{File: f, came: func(int64) {}}, nil
}

// Write writes on.
func (o *output) Write(b []byte) (int, error) {
	if o.ended.Load() {
		return 0, io.ErrClosedPipe
	}
	n, err := o.File.Write(b)
	o.came(o.n.Add(int64(n)))
	return n, err
}

// Close leaves the file open.
func (*output) Close() error { return nil }

func (o *output) finish() error {
	o.ended.Store(true)
	return errors.Join(o.Sync(), o.File.Close())
}
