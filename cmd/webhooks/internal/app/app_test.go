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
	err := c.Close()
	if !slices.Equal(order, []string{"store", "connection", "server"}) {
		t.Errorf("closed in the order %v", order)
	}
	if err == nil || strings.Count(err.Error(), "stuck") != 3 {
		t.Errorf("got %v", err)
	}
	if c.Close() != nil {
		t.Error("a second close does it again")
	}
}

func TestACloserThatHangsIsLeftBehindAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var c app.Closers
		c.Push("hanging", time.Second, func(context.Context) error { <-release; return nil })
		err := c.Close()
		close(release)
		if err == nil || !strings.Contains(err.Error(), "close hanging: not done after 1s") {
			t.Errorf("got %v", err)
		}
	})
}
