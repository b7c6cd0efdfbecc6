package main

import (
	"context"
	"io"

	"github.com/popsee/webhooks/delivery/panics"
)

// interruptible is an input whose end need not be waited for: nothing else ends a
// read of a terminal or a pipe. It is read from one goroutine.
type interruptible struct {
	ctx  context.Context //nolint:containedctx // io.Reader has no place for one
	in   io.Reader
	got  piece      // what was read, and not yet given away
	next chan piece // nil while nothing is being read
}

// piece is what one read came to.
type piece struct {
	b   []byte
	err error
}

// pieceSize is how much is read at a time.
const pieceSize = 64 << 10

// Read implements io.Reader. The goroutine of a read that is interrupted ends with
// the input, or with the process.
func (i *interruptible) Read(p []byte) (int, error) {
	if len(i.got.b) == 0 && i.got.err == nil {
		if err := i.await(); err != nil {
			return 0, err
		}
	}
	n := copy(p, i.got.b)
	i.got.b = i.got.b[n:]
	if n > 0 {
		return n, nil
	}
	return 0, i.got.err
}

func (i *interruptible) await() error {
	if i.next == nil {
		i.next = make(chan piece, 1)
		go func(done chan<- piece) {
			var unheard *panics.Guard // whoever reads hears of it, as of any error
			b, n := make([]byte, pieceSize), 0
			err := unheard.Try(panics.PlaceRun, func() (err error) {
				n, err = i.in.Read(b)
				return err
			})
			done <- piece{b[:n], err}
		}(i.next)
	}
	select {
	case i.got = <-i.next:
		i.next = nil
		return nil
	case <-i.ctx.Done():
		return context.Cause(i.ctx)
	}
}
