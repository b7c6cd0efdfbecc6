package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/popsee/webhooks/events"
)

const (
	manifestFile = "manifest.json"
	keyringFile  = "keyring.json"
	streamsDir   = "streams"
)

// Manifest says what a backup holds. It is written when all else is, so a folder that
// has none is not a backup.
type Manifest struct {
	Format  string    `json:"format"`  // events.Format
	Version string    `json:"version"` // of the program that made it
	Server  string    `json:"server"`  // the version of NATS
	Prefix  string    `json:"prefix,omitempty"`
	Begun   time.Time `json:"begun"` // everything acknowledged before is in it
	Ended   time.Time `json:"ended"`
	Born    time.Time `json:"event_stream_born"` // see layout.Born
	Live    bool      `json:"live_consumer"`     // there was one
	Settled uint64    `json:"settled"`           // it had settled everything up to here

	Streams []Archive `json:"streams"`           // in the order in which they were copied
	Missing []string  `json:"missing,omitempty"` // streams that were not there to be copied
	Late    int       `json:"late,omitempty"`    // waiting events that came into the lanes while they were copied
	Keys    []string  `json:"keys,omitempty"`    // that the endpoints' secrets are sealed with
	Keyring string    `json:"keyring,omitempty"` // the key ring's checksum, if it is in the folder
	Newer   uint64    `json:"newer,omitempty"`   // messages in a format of a newer version than the one that made this
	Largest int64     `json:"largest"`           // message, with its headers
	Bytes   int64     `json:"bytes"`             // of all archives
	Events  uint64    `json:"messages"`          // in all archives
	Folder  string    `json:"folder,omitempty"`  // where it was written; for printing, not part of what is stored
	Planned bool      `json:"dry_run,omitempty"` // nothing was copied: what would be
}

// Archive is the copy of one stream.
type Archive struct {
	Stream   string    `json:"stream"`
	Born     time.Time `json:"born"` // see layout.Born
	Messages uint64    `json:"messages"`
	First    uint64    `json:"first_sequence"`
	Last     uint64    `json:"last_sequence"`
	Bytes    int64     `json:"bytes"` // of the file
	SHA256   string    `json:"sha256"`
	Settings string    `json:"settings_sha256"` // of backup.json beside it
	Largest  int64     `json:"largest"`
	Newer    uint64    `json:"newer,omitempty"`

	live *standing // the live consumer's, where it is among the consumers; nil where it is not
}

// Damaged says that a folder is not a whole backup.
type Damaged struct {
	Folder string
	err    error
	hint   string
}

// Error says what is wrong with it.
func (d *Damaged) Error() string {
	return fmt.Sprintf("the backup in %s is not whole: %v", d.Folder, d.err)
}

// Hint says what to do.
func (d *Damaged) Hint() string { return d.hint }

// Unwrap gives the cause.
func (d *Damaged) Unwrap() error { return d.err }

func damaged(folder string, err error) error {
	return &Damaged{Folder: folder, err: err, hint: "nothing was restored: use another backup, or copy this one again from where it came"}
}

// readManifest reads what a folder says of itself.
func readManifest(dir string) (Manifest, error) {
	value, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, &Damaged{Folder: dir, err: err, hint: "is it the right folder? one that a backup was broken off in has no " + manifestFile + ", and is of no use"}
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read what the backup holds: %w", err)
	}
	if format := events.OtherFormat(value); format != "" {
		return Manifest{}, &Newer{Folder: dir, Format: format}
	}
	var m Manifest
	if err := json.Unmarshal(value, &m); err != nil {
		return Manifest{}, damaged(dir, fmt.Errorf("read %s: %w", manifestFile, err))
	}
	if m.Format != events.Format || len(m.Streams) == 0 {
		return Manifest{}, damaged(dir, fmt.Errorf("%s names no format, or no stream", manifestFile))
	}
	return m, nil
}

// Newer says that a newer version made a backup.
type Newer struct{ Folder, Format string }

// Error says what was found.
func (n *Newer) Error() string {
	return fmt.Sprintf("the backup in %s has format %.16q, this version reads %s", n.Folder, n.Format, events.Format)
}

// Hint says what to do.
func (n *Newer) Hint() string { return "restore it with the version that made it, or a newer one" }

// write makes the folder a backup, in one step that a power cut does not undo.
func (m Manifest) write(dir string) error {
	m.Folder = ""
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", manifestFile, err)
	}
	if err := store(filepath.Join(dir, manifestFile), b); err != nil {
		return err
	}
	return syncFolder(dir)
}

// store writes a file so that it is there as a whole or not at all.
func store(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// in is the archive of a stream; nil when there is none.
func (m Manifest) in(stream string) *Archive {
	for i := range m.Streams {
		if m.Streams[i].Stream == stream {
			return &m.Streams[i]
		}
	}
	return nil
}

// sum adds up what the archives hold.
func (m *Manifest) sum() {
	m.Newer, m.Largest, m.Bytes, m.Events = 0, 0, 0, 0
	for _, a := range m.Streams {
		m.Newer += a.Newer
		m.Largest = max(m.Largest, a.Largest)
		m.Bytes += a.Bytes
		m.Events += a.Messages
	}
}
