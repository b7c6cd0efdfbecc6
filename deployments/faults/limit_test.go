package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestARunThatTakesTooLongSaysHowFarItHasCome(t *testing.T) {
	err := command{Kills: 20, Rounds: 2, Only: []string{"kill -9 replicas", "kill -9 the service"}, Limit: time.Nanosecond}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `not done after 1ns (--limit): 0 of 12 rows are there, the last is "none"`) {
		t.Errorf("got %v", err)
	}
	s := &suite{command: command{Kills: 1, Rounds: 1, Limit: time.Minute}, rows: []row{{Fault: "purge"}}}
	if err := s.cutShort(errLimit); !strings.Contains(err.Error(), `the last is "purge"`) {
		t.Errorf("got %v", err)
	}
	if err := s.cutShort(nil); err != nil {
		t.Errorf("a run that ends by itself: %v", err)
	}
	if err := s.cutShort(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that somebody ends: %v", err)
	}
}
