package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/api"
	archive "github.com/nats-io/jsm.go/backup"

	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/walk"
)

// late collects what came into the lanes after they were copied, of events that were
// settled before: the live consumer does not bring those again.
type late struct {
	live  *standing // when the event stream was copied
	next  uint64    // the first sequence of the lanes that was not looked at
	file  *os.File
	out   *archive.Encoder
	count int
	bytes uint64
	last  uint64
}

func newLate(folder string, lanesCopy Archive, live *standing) (*late, error) {
	f, err := os.OpenFile(filepath.Join(folder, "late"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	l := &late{live: live, next: lanesCopy.Last + 1, file: f, out: archive.NewEncoder(f)}
	return l, l.out.WriteState(0, api.StreamState{FirstSeq: 1, LastSeq: math.MaxUint64})
}

// look takes what has come since the last look. What goes from the lanes meanwhile
// was delivered, or is where the next copies find it.
func (l *late) look(ctx context.Context, t *taker) error {
	info, err := t.look(ctx, t.names.Lanes())
	if err != nil {
		return err
	}
	end := info.State.LastSeq
	if l.next > end || info.State.Msgs == 0 {
		return nil
	}
	stream, err := t.manager.LoadStream(t.names.Lanes())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", t.names.Lanes(), err)
	}
	for m, err := range walk.Stream(ctx, t.js, t.names.Lanes(), walk.Options{From: l.next}) {
		if err != nil {
			return fmt.Errorf("read what came into the lanes: %w", err)
		}
		if m.Sequence > end {
			break
		}
		if source, known := lanes.Source(m.Header); known && l.live.brings(source) {
			continue
		}
		if err := l.take(stream, m.Sequence); err != nil {
			return err
		}
	}
	l.next = end + 1
	return nil
}

func (l *late) take(stream *jsm.Stream, seq uint64) error {
	m, err := stream.ReadMessage(seq)
	if refused, ok := errors.AsType[api.ApiError](err); ok && refused.NotFoundError() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read message %d of the lanes: %w", seq, err)
	}
	l.count, l.last = l.count+1, seq
	l.bytes += uint64(len(m.Header) + len(m.Data))
	return l.out.WriteMessage(&archive.Message{
		Subject: m.Subject, Seq: m.Sequence, Ts: m.Time.UnixNano(), HdrSize: int64(len(m.Header)), PayloadSize: int64(len(m.Data)),
		Body: io.MultiReader(bytes.NewReader(m.Header), bytes.NewReader(m.Data)),
	})
}

// merge adds what was collected to the copy of the lanes.
func (l *late) merge(folder string) error {
	if err := errors.Join(l.out.WriteEnd(), l.out.Close()); err != nil {
		return err
	}
	defer l.file.Close()
	if err := os.Remove(l.file.Name()); err != nil { // what is open can be read all the same
		return err
	}
	if l.count == 0 {
		return nil
	}
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	path := filepath.Join(folder, archive.DataFile)
	before, err := os.Open(path)
	if err != nil {
		return err
	}
	defer before.Close()
	after, err := create(path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(l.write(after, before), after.finish()); err != nil {
		return fmt.Errorf("add what came late to the copy of the lanes: %w", err)
	}
	return errors.Join(os.Rename(path+".new", path), syncFolder(folder))
}

func (l *late) write(w io.Writer, before io.Reader) error {
	out := archive.NewEncoder(w)
	err := errors.Join(l.copy(out, before, true), l.copy(out, l.file, false))
	return errors.Join(err, out.WriteEnd(), out.Close())
}

// copy copies an archive's messages, and with head what stands before them.
func (l *late) copy(out *archive.Encoder, from io.Reader, head bool) error {
	for d := archive.NewDecoder(from); ; {
		item, err := d.Next()
		if err != nil {
			return err
		}
		switch item := item.(type) {
		case *archive.State:
			if head {
				item.State.Msgs += uint64(l.count) //nolint:gosec // counted up from 0
				item.State.Bytes += l.bytes
				item.State.LastSeq = max(item.State.LastSeq, l.last)
				if item.State.FirstSeq > item.State.LastSeq || item.State.FirstSeq == 0 {
					item.State.FirstSeq = 1
				}
				err = out.WriteState(item.Ts, item.State)
			}
		case *archive.Consumer:
			err = out.WriteConsumer(item.Name, item.Ts, item.Data)
		case *archive.Message:
			err = out.WriteMessage(item)
		case archive.End:
			return nil
		}
		if err != nil {
			return err
		}
	}
}
