package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// logLag is how long after an event was settled the delivery log tells of it, and
// plenty: an audit of the restored deployment is to find a record of each.
const logLag = 2 * time.Second

// Options are the choices of [Take].
type Options struct {
	Folder   string // of the backup; it must not exist, or be empty
	Version  string // of the program, for whoever restores it
	Keyring  []byte // the key ring's file, to be put beside the archives; nil leaves it out
	DryRun   bool   // copy nothing: say what would be
	Progress Progress
}

// taker makes one backup.
type taker struct {
	js      jetstream.JetStream
	manager *jsm.Manager
	names   events.Names
	o       Options
	late    int
}

// Take copies a deployment into a folder. The service may work meanwhile.
func Take(ctx context.Context, js jetstream.JetStream, names events.Names, o Options) (Manifest, error) {
	manager, err := jsm.New(js.Conn(), jsm.WithTimeout(answerTime))
	if err != nil {
		return Manifest{}, err
	}
	t := &taker{js: js, manager: manager, names: names, o: o}
	m := Manifest{
		Format: events.Format, Version: o.Version, Server: js.Conn().ConnectedServerVersion(), Prefix: names.Prefix(),
		Begun: time.Now().UTC(), Folder: o.Folder, Planned: o.DryRun,
	}
	there, err := t.there(ctx, &m)
	if err != nil {
		return m, err
	}
	if o.DryRun {
		return m, t.plan(ctx, &m, there)
	}
	if err := vacant(o.Folder); err != nil {
		return m, err
	}
	if err := t.all(ctx, &m, there); err != nil {
		return m, err
	}
	return m, t.finish(ctx, &m)
}

// vacant makes the folder. What stands there already is somebody's.
func vacant(folder string) error {
	found, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(folder, 0o700)
	case err != nil:
		return fmt.Errorf("look into the folder: %w", err)
	case len(found) > 0:
		return fmt.Errorf("the folder %s holds %s already: %w", folder, found[0].Name(), ErrNotVacant)
	}
	return os.Chmod(folder, 0o700) //nolint:gosec // a folder
}

// ErrNotVacant says that a backup was to be written where something is.
var ErrNotVacant = errors.New("each backup needs a folder of its own")

func (t *taker) progress(doing string, done, all int64) {
	if t.o.Progress != nil {
		t.o.Progress(doing, done, all)
	}
}

func (t *taker) place(stream string) place {
	p, _ := placeOf(t.names, stream)
	return p
}

// there says which streams there are.
func (t *taker) there(ctx context.Context, m *Manifest) (map[string]*jetstream.StreamInfo, error) {
	there := map[string]*jetstream.StreamInfo{}
	for _, p := range places(t.names) {
		info, err := t.look(ctx, p.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) && p.stream != t.names.Stream() {
			m.Missing = append(m.Missing, p.stream)
			continue
		}
		if err != nil {
			return nil, err
		}
		there[p.stream] = info
	}
	return there, nil
}

// plan says what would be copied.
func (t *taker) plan(ctx context.Context, m *Manifest, there map[string]*jetstream.StreamInfo) error {
	for _, p := range places(t.names) {
		if info := there[p.stream]; info != nil {
			m.Streams = append(m.Streams, Archive{
				Stream: p.stream, Born: layout.Born(info), Messages: info.State.Msgs, First: info.State.FirstSeq, Last: info.State.LastSeq,
				Bytes: int64(info.State.Bytes), //nolint:gosec // far from what an int64 holds
			})
		}
	}
	m.sum()
	return t.keys(ctx, m, there)
}

// all copies every stream, in the order that the package's text explains.
func (t *taker) all(ctx context.Context, m *Manifest, there map[string]*jetstream.StreamInfo) error {
	whole := !slices.Contains(m.Missing, t.names.Lanes()) && !slices.Contains(m.Missing, kv(t.names.Health())) && !slices.Contains(m.Missing, t.names.DeadLetters())
	var copied time.Time // the event stream
	for _, p := range places(t.names) {
		if there[p.stream] == nil || whole && (p.stream == kv(t.names.Health()) || p.stream == t.names.DeadLetters()) {
			continue // the latter two come with the lanes
		}
		if whole && p.stream == t.names.Lanes() {
			got, err := t.custody(ctx, m.in(t.names.Stream()).live)
			if err != nil {
				return err
			}
			m.Streams = append(m.Streams, got...)
			continue
		}
		if p.stream == t.names.Attempts() {
			wait.For(ctx, logLag-time.Since(copied))
		}
		a, err := t.snapshot(ctx, p)
		if err != nil {
			return err
		}
		m.Streams = append(m.Streams, a)
		if p.stream == t.names.Stream() {
			copied = time.Now()
		}
	}
	stream := m.in(t.names.Stream())
	m.Born, m.Late = stream.Born, t.late
	if stream.live != nil {
		m.Live, m.Settled = true, stream.live.floor
	}
	m.sum()
	return t.keys(ctx, m, there)
}

// finish writes what is not a stream, and the manifest last.
func (t *taker) finish(ctx context.Context, m *Manifest) error {
	if t.o.Keyring != nil {
		m.Keyring = sum(t.o.Keyring)
		if err := store(filepath.Join(t.o.Folder, keyringFile), t.o.Keyring); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.Ended = time.Now().UTC()
	if err := errors.Join(syncFolder(filepath.Join(t.o.Folder, streamsDir)), m.write(t.o.Folder)); err != nil {
		return err
	}
	m.Folder = t.o.Folder
	return nil
}

// keys names the keys that secrets are sealed with: without them a backup opens none.
func (t *taker) keys(ctx context.Context, m *Manifest, there map[string]*jetstream.StreamInfo) error {
	info := there[kv(t.names.Endpoints())]
	if info == nil || info.State.Msgs == 0 {
		return nil
	}
	found := map[string]bool{}
	for e, err := range walk.Stream(ctx, t.js, info.Config.Name, walk.Options{Bodies: true}) {
		if err != nil {
			return fmt.Errorf("read which keys the endpoints' secrets are sealed with: %w", err)
		}
		var of struct {
			Secrets []struct {
				Key string `json:"key_id"`
			} `json:"secrets"`
		}
		_ = json.Unmarshal(e.Body, &of) // one that cannot be read has no secret that could be opened
		for _, s := range of.Secrets {
			found[s.Key] = true
		}
		if e.Sequence >= info.State.LastSeq {
			break
		}
	}
	delete(found, "")
	m.Keys = slices.Sorted(maps.Keys(found))
	return nil
}
