package app_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/app"
)

func TestClosersRunInReverseAndJoinTheirErrors(t *testing.T) {
	var order []string
	var c app.Closers
	for _, name := range []string{"server", "connection", "store"} {
		c.Push(name, time.Second, func(context.Context) error {
			order = append(order, name)
			return errors.New(name + " is stuck")
		})
	}
	err := c.Close(t.Context())
	if !slices.Equal(order, []string{"store", "connection", "server"}) {
		t.Errorf("closed in the order %v", order)
	}
	if err == nil || strings.Count(err.Error(), "stuck") != 3 {
		t.Errorf("got %v", err)
	}
	if c.Close(t.Context()) != nil {
		t.Error("a second close does it again")
	}
}

func TestACloserThatHangsIsLeftBehindAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var c app.Closers
		c.Push("hanging", time.Second, func(context.Context) error { <-release; return nil })
		err := c.Close(t.Context())
		close(release)
		if err == nil || !strings.Contains(err.Error(), "close hanging: not done after 1s") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhateverHangsClosingEndsInTheTimeForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		closed := false
		var c app.Closers
		c.Push("hanging server", time.Minute, hang)
		c.Push("quick", time.Minute, func(ctx context.Context) error { closed = ctx.Err() == nil; return nil })
		c.Push("hanging log", 10*time.Second, hang)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		err := c.Close(ctx)
		took := time.Since(began)
		close(release)
		if took < 4*time.Second || took > 5*time.Second {
			t.Errorf("closing took %s, and had four seconds", took)
		}
		if !closed {
			t.Error("what takes no time was given none")
		}
		if err == nil || !strings.Contains(err.Error(), "close hanging log: not done after 4s") || !strings.Contains(err.Error(), "close hanging server: not done") {
			t.Errorf("got %v", err)
		}
	})
}
