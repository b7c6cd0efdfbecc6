package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	archive "github.com/nats-io/jsm.go/backup"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

// Progress hears how far a long piece of work is.
type Progress func(doing string, done, all int64)

// examiner reads an archive from its beginning to its end: right after it was
// written, because a copy that nobody has read is none, and before it is restored.
type examiner struct {
	place    place
	consumer string // the live one's name
	found    Archive
}

// examine says what the archive in a folder holds.
func examine(ctx context.Context, folder string, p place, consumer string, progress Progress) (Archive, error) {
	settings, err := os.ReadFile(filepath.Join(folder, archive.MetaFile))
	if err != nil {
		return Archive{}, fmt.Errorf("read the settings of stream %s: %w", p.stream, err)
	}
	f, err := os.Open(filepath.Join(folder, archive.DataFile))
	if err != nil {
		return Archive{}, fmt.Errorf("read the copy of stream %s: %w", p.stream, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Archive{}, err
	}
	e := &examiner{place: p, consumer: consumer, found: Archive{Stream: p.stream, Bytes: info.Size(), Settings: sum(settings)}}
	h := sha256.New()
	counted := &countedReader{r: f, step: func(n int64) { progress("checking "+p.stream, n, info.Size()) }}
	from := io.TeeReader(counted, h)
	if err := e.read(ctx, archive.NewDecoder(from)); err != nil {
		return Archive{}, fmt.Errorf("read the copy of stream %s: %w", p.stream, err)
	}
	if _, err := io.Copy(io.Discard, from); err != nil {
		return Archive{}, fmt.Errorf("read the copy of stream %s: %w", p.stream, err)
	}
	e.found.SHA256 = hex.EncodeToString(h.Sum(nil))
	return e.found, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func (e *examiner) read(ctx context.Context, d *archive.Decoder) error {
	for ctx.Err() == nil {
		item, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch item := item.(type) {
		case *archive.State:
			e.found.First, e.found.Last = item.State.FirstSeq, item.State.LastSeq
		case *archive.Consumer:
			err = e.takeConsumer(item)
		case *archive.Message:
			err = e.takeMessage(item)
		case archive.End:
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// takeConsumer notes where the live consumer stood.
func (e *examiner) takeConsumer(c *archive.Consumer) error {
	if c.Name != e.consumer || !e.place.consumers {
		return nil
	}
	var err error
	if e.found.live, err = standingOf(c.Data); err != nil {
		return fmt.Errorf("read the place of consumer %s: %w", c.Name, err)
	}
	return nil
}

func (e *examiner) takeMessage(m *archive.Message) error {
	e.found.Messages++
	e.found.Largest = max(e.found.Largest, m.HdrSize+m.PayloadSize)
	if e.place.content == foreign {
		return nil
	}
	b := make([]byte, m.HdrSize+m.PayloadSize)
	if _, err := io.ReadFull(m.Body, b); err != nil {
		return fmt.Errorf("message %d: %w", m.Seq, err)
	}
	header, err := headerOf(b[:m.HdrSize])
	if err != nil {
		return fmt.Errorf("message %d: %w", m.Seq, err)
	}
	if e.newer(header, b[m.HdrSize:]) {
		e.found.Newer++
	}
	return nil
}

func headerOf(b []byte) (nats.Header, error) {
	if len(b) == 0 {
		return nil, nil //nolint:nilnil // a message without headers
	}
	return nats.DecodeHeadersMsg(b)
}

func (e *examiner) newer(header nats.Header, body []byte) bool {
	if e.place.content == headed {
		return header.Get(events.FormatHeader) != events.Format
	}
	return header.Get("KV-Operation") == "" && events.OtherFormat(body) != ""
}

// countedReader tells how much was read.
type countedReader struct {
	r    io.Reader
	n    int64
	step func(n int64)
}

// Read reads on.
func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.step(c.n)
	return n, err
}
