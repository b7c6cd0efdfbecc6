// Package app opens things in order and closes them in reverse.
package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery/panics"
)

// Closers are what has been opened, to be closed last in, first out. The zero
// value is empty.
type Closers struct {
	Log   zerolog.Logger
	stack []closer
}

type closer struct {
	name  string
	bound time.Duration
	close func(ctx context.Context) error
}

// Push puts something opened on the stack; it belongs on the line after the
// opening. bound is how long its close may take.
func (c *Closers) Push(name string, bound time.Duration, close func(ctx context.Context) error) {
	c.stack = append(c.stack, closer{name, bound, close})
}

// moment is what each close has when the time for all is over: most need less, and
// it must not be one that hangs who decides for the others.
const moment = 250 * time.Millisecond

// Close closes everything, and joins what went wrong. One that takes longer
// than its bound, or than all may take together, which is until ctx's deadline, is
// left behind and named.
func (c *Closers) Close(ctx context.Context) error {
	var errs []error
	for _, opened := range slices.Backward(c.stack) {
		if err := opened.run(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	c.stack = nil
	return errors.Join(errs...)
}

func (c closer) run(all context.Context) error {
	bound := c.bound
	if by, ok := all.Deadline(); ok {
		bound = max(min(bound, time.Until(by).Round(time.Millisecond)), moment)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(all), bound)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var unheard *panics.Guard // the process ends anyway, and says so by this error
		done <- unheard.Try(panics.PlaceRun, func() error { return c.close(ctx) })
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("close %s: %w", c.name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close %s: not done after %s", c.name, bound)
	}
}
