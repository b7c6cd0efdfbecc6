package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/api"
	archive "github.com/nats-io/jsm.go/backup"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
)

const (
	settleTime = time.Minute // how long a cluster has to agree on what was restored
	lookAgain  = 100 * time.Millisecond
	undoTime   = time.Minute
	givesUp    = 7 * time.Second
)

// RestoreOptions are the choices of [Restore].
type RestoreOptions struct {
	Folder   string        // of the backup
	Layout   layout.Layout // names, replicas and store of the deployment that it becomes
	DryRun   bool          // restore nothing: check the backup, and that it could be
	Progress Progress
}

// Restored says what a restore did, or would do.
type Restored struct {
	Manifest Manifest         `json:"backup"`
	Planned  bool             `json:"dry_run,omitempty"`
	Replicas int              `json:"replicas"`         // copies of each stream
	Next     uint64           `json:"next"`             // the live consumer goes on at this sequence of the event stream; 0: it was never started
	Behind   []string         `json:"behind,omitempty"` // streams of which not every copy is complete yet: the cluster goes on by itself
	Bus      provision.Report `json:"bus,omitempty"`    // what was made besides, and what is set up otherwise than this version would
}

// restorer restores one backup.
type restorer struct {
	js      jetstream.JetStream
	manager *jsm.Manager
	o       RestoreOptions
	made    []string // streams, in the order in which they were restored
}

// Restore makes a deployment of a backup, on a server that has none. When it fails
// what it had restored is removed again. The error is a [*Damaged] or a [*Newer]
// where the backup is the reason, and an [*Occupied] where something is in its place.
func Restore(ctx context.Context, js jetstream.JetStream, o RestoreOptions) (Restored, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	r := Restored{Planned: o.DryRun, Replicas: max(o.Layout.Replicas, 1)}
	var err error
	if r.Manifest, err = Check(ctx, o.Folder, o.Progress); err != nil {
		return r, err
	}
	manager, err := jsm.New(js.Conn(), jsm.WithTimeout(answerTime))
	if err != nil {
		return r, err
	}
	d := &restorer{js: js, manager: manager, o: o}
	r.Next = r.Manifest.next()
	if err := d.fits(ctx, r.Manifest); err != nil || o.DryRun {
		return r, err
	}
	if err := d.all(ctx, &r); err != nil {
		return r, errors.Join(err, d.undo(ctx))
	}
	return r, nil
}

// next is where the live consumer goes on; 0 when it has never been.
func (m Manifest) next() uint64 {
	if !m.Live {
		return 0
	}
	return m.Settled + 1
}

// order is in which the streams are restored: the event stream last.
func (d *restorer) order() []place {
	all := places(d.o.Layout.Names)
	i := slices.IndexFunc(all, func(p place) bool { return p.consumers })
	return append(slices.Delete(slices.Clone(all), i, i+1), all[i])
}

func (d *restorer) all(ctx context.Context, r *Restored) error {
	for _, p := range d.order() {
		a := r.Manifest.in(p.stream)
		if a == nil {
			continue
		}
		if err := d.stream(ctx, p, *a); err != nil {
			return fmt.Errorf("restore stream %s: %w", p.stream, err)
		}
	}
	report, err := provision.Run(ctx, d.js, d.o.Layout, provision.Ensure, zerolog.Nop())
	if r.Bus = report; err != nil {
		return fmt.Errorf("make what is not in the backup: %w", err)
	}
	for _, p := range d.order() {
		if a := r.Manifest.in(p.stream); a != nil && p.counted {
			if err := d.goOn(ctx, p.stream, a.Born); err != nil { // a cluster's last word may have come after ours
				return err
			}
		}
	}
	if err := d.stands(ctx, r.Manifest); err != nil {
		return err
	}
	r.Behind, err = d.behind(ctx)
	return err
}

// stream restores one stream. Who receives it is not known to the other nodes of a
// cluster in its first moment, and gives up when nothing has come for five seconds: then
// nobody answers, and it is sent once more.
func (d *restorer) stream(ctx context.Context, p place, a Archive) error {
	d.made = append(d.made, p.stream) // also what fails halfway is to be removed
	for try := 1; ; try++ {
		err := d.send(ctx, p, a)
		switch {
		case err == nil && !p.counted:
			return nil
		case err == nil:
			return d.goOn(ctx, p.stream, a.Born)
		case !errors.Is(err, nats.ErrNoResponders) || try == tries || ctx.Err() != nil:
			return err
		}
		if err := d.clear(ctx, p.stream); err != nil {
			return err
		}
	}
}

// send sends a stream's copy.
func (d *restorer) send(ctx context.Context, p place, a Archive) error {
	cfg, meta, err := d.settings(p)
	if err != nil {
		return err
	}
	data, err := os.Open(filepath.Join(d.folder(p), archive.DataFile))
	if err != nil {
		return errors.Join(err, meta.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from := &countedReader{r: data, step: func(n int64) { d.o.Progress("restoring "+p.stream, n, a.Bytes) }}
	state, err := d.manager.RestoreSnapshotFromBuffer(ctx, p.stream, closing{from, data}, meta, jsm.RestoreConfiguration(cfg))
	if err != nil {
		return err
	}
	if state.LastSeq < a.Last {
		return fmt.Errorf("it ends at sequence %d, the backup at %d", state.LastSeq, a.Last)
	}
	return nil
}

func (d *restorer) folder(p place) string { return filepath.Join(d.o.Folder, streamsDir, p.stream) }

type closing struct {
	*countedReader

	f *os.File
}

// Close closes the file.
func (c closing) Close() error { return c.f.Close() }

// settings are how a stream was set up, with as many copies as it is to have here, and
// with this store's bounds where they are known.
func (d *restorer) settings(p place) (api.StreamConfig, *os.File, error) {
	meta, err := os.Open(filepath.Join(d.folder(p), archive.MetaFile))
	if err != nil {
		return api.StreamConfig{}, nil, err
	}
	var of struct {
		Config api.StreamConfig `json:"config"`
	}
	if err := json.NewDecoder(meta).Decode(&of); err != nil {
		return api.StreamConfig{}, nil, errors.Join(err, meta.Close())
	}
	if _, err := meta.Seek(0, 0); err != nil {
		return api.StreamConfig{}, nil, errors.Join(err, meta.Close())
	}
	of.Config.Replicas = max(d.o.Layout.Replicas, 1)
	of.Config.Placement = nil // it names nodes of where it was
	for _, want := range append(d.o.Layout.Own(), d.o.Layout.Events()) {
		if want.Name != p.stream {
			continue
		}
		if want.MaxBytes > 0 && of.Config.MaxBytes > 0 {
			of.Config.MaxBytes = want.MaxBytes
		}
		if want.Name != d.o.Layout.Names.Stream() { // the event stream may be the platform's
			of.Config.AllowDirect = want.AllowDirect // it depends on the number of copies
		}
	}
	return of.Config, meta, nil
}

// goOn has a stream say which one it goes on. A cluster gives it the creation time that
// stays a moment after it says that it is restored.
func (d *restorer) goOn(ctx context.Context, stream string, born time.Time) error {
	return d.until(ctx, "have it say which stream it goes on", func(ctx context.Context) (bool, error) {
		s, err := d.js.Stream(ctx, stream)
		if err != nil {
			return false, err
		}
		info := s.CachedInfo()
		if layout.Born(info).Equal(born) {
			return true, nil
		}
		cfg := info.Config
		cfg.Metadata = layout.WithBorn(cfg.Metadata, born, info.Created)
		_, err = d.js.UpdateStream(ctx, cfg)
		return false, err
	})
}

// until asks until it is so, or what a cluster may take for it is over.
func (d *restorer) until(ctx context.Context, what string, so func(context.Context) (bool, error)) error {
	deadline := time.Now().Add(settleTime)
	for {
		asking, cancel := context.WithTimeout(ctx, answerTime)
		done, err := so(asking)
		cancel()
		switch {
		case err == nil && done:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline) && err == nil:
			return fmt.Errorf("%s: not after %s", what, settleTime)
		case time.Now().After(deadline):
			return fmt.Errorf("%s: %w", what, err)
		}
		wait.For(ctx, lookAgain)
	}
}

// undo removes what was restored: half a deployment is none, and would be in the way.
func (d *restorer) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	var failed error
	for i, stream := range slices.Backward(d.made) {
		remove := d.remove
		if i == len(d.made)-1 {
			remove = d.clear
		}
		failed = errors.Join(failed, remove(ctx, stream))
	}
	return failed
}

// clear removes what has come of a stream that was not sent to its end. A server that
// waits for more of it gives up after five seconds, and shows what it has only then.
func (d *restorer) clear(ctx context.Context, stream string) error {
	err := d.remove(ctx, stream)
	for given := time.Now().Add(givesUp); time.Now().Before(given) && ctx.Err() == nil; err = d.remove(ctx, stream) {
		wait.For(ctx, lookAgain)
	}
	return err
}

func (d *restorer) remove(ctx context.Context, stream string) error {
	if err := d.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove stream %s, which was restored: %w", stream, err)
	}
	return nil
}
