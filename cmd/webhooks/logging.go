package main

import (
	"bufio"
	"context"
	"io"
	"log"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
)

// quietStandardLog throws away what net/http says through the standard logger:
// a hostile receiver can make it print bytes of its own choosing, a secret it
// was sent among them. What matters is in the attempt's record.
func quietStandardLog() { log.SetOutput(io.Discard) }

// logFlush is how long a line may wait for its company. One line an attempt at
// thirty thousand a second must not be a system call each.
const logFlush = 100 * time.Millisecond

// logger returns the process's logger and what flushes it at the end.
func (w *world) logger(s config.LogSettings) (zerolog.Logger, func()) {
	if s.Console(isTerminal(w.errw)) {
		out := zerolog.ConsoleWriter{Out: w.errw, TimeFormat: time.TimeOnly, NoColor: !w.colour(w.errw)}
		return zerolog.New(out).Level(s.ZerologLevel()).With().Timestamp().Logger(), func() {}
	}
	b := newBuffered(w.errw)
	return zerolog.New(b).Level(s.ZerologLevel()).With().Timestamp().Logger(), b.stop
}

// buffered writes in large pieces. Lines of warning and above go out at once.
type buffered struct {
	mu   sync.Mutex // guards w
	w    *bufio.Writer
	stop func() // writes what is left
}

func newBuffered(out io.Writer) *buffered {
	b := &buffered{w: bufio.NewWriterSize(out, 64<<10)}
	b.stop = inBackground(nil, b.run) // no guard: it would tell this log
	return b
}

func (b *buffered) run(ctx context.Context) {
	tick := time.NewTicker(logFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.flush()
		case <-ctx.Done():
			b.flush()
			return
		}
	}
}

func (b *buffered) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.w.Flush() // nobody is left to tell
}

// Write implements io.Writer.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(p)
}

// WriteLevel implements zerolog.LevelWriter.
func (b *buffered) WriteLevel(l zerolog.Level, p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.w.Write(p)
	if l >= zerolog.WarnLevel && err == nil {
		err = b.w.Flush()
	}
	return n, err
}
