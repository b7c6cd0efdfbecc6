package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/popsee/webhooks/events"
)

// Check reads a whole backup and compares it with its manifest. The error is a
// [*Damaged] when it is not what was written.
func Check(ctx context.Context, folder string, progress Progress) (Manifest, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	m, err := readManifest(folder)
	if err != nil {
		return m, err
	}
	m.Folder = folder
	names, err := events.NewNames(m.Prefix)
	if err != nil {
		return m, damaged(folder, err)
	}
	for _, want := range m.Streams {
		p, known := placeOf(names, want.Stream)
		if !known {
			return m, damaged(folder, fmt.Errorf("%s names the stream %q, which is none of this service", manifestFile, want.Stream))
		}
		got, err := examine(ctx, filepath.Join(folder, streamsDir, p.stream), p, names.Consumer(), progress)
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		if err != nil {
			return m, damaged(folder, err)
		}
		if got.SHA256 != want.SHA256 || got.Settings != want.Settings || got.Messages != want.Messages {
			return m, damaged(folder, fmt.Errorf("the copy of stream %s is not the one that was written: it has %d messages in %d bytes, written were %d in %d", p.stream, got.Messages, got.Bytes, want.Messages, want.Bytes))
		}
	}
	return m, checkKeyring(m, folder)
}

func checkKeyring(m Manifest, folder string) error {
	if m.Keyring == "" {
		return nil
	}
	ring, err := os.ReadFile(filepath.Join(folder, keyringFile))
	if err == nil && sum(ring) != m.Keyring {
		err = errors.New("the key ring is not the one that was written")
	}
	if err != nil {
		return damaged(folder, err)
	}
	return nil
}
