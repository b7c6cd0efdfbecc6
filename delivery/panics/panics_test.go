package panics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/delivery/panics/panicstest"
)

const planted = "planted-secret-of-an-owner"

func TestAPanicTellsWhereAndNothingOfWhatWasInHand(t *testing.T) {
	secret := [64]byte{}
	copy(secret[:], planted)
	var nothing []int
	for name, c := range map[string]struct {
		fails func()
		what  string
	}{
		"text":                 {func() { panic("with " + planted) }, "a string"},
		"an error":             {func() { panic(fmt.Errorf("with %w", errors.New(planted))) }, "a *fmt.wrapError"},
		"a struct":             {func() { panic(struct{ s string }{planted}) }, "a struct"},
		"an index":             {func() { _ = nothing[len(planted)] }, "index out of range [26] with length 0"},
		"nothing":              {func() { panic(nil) }, "panic called with nil argument"},
		"arguments of a stack": {func() { holding(secret, planted) }, "a string"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			reg := prometheus.NewRegistry()
			err := panics.New(zerolog.New(&log), reg).Try(panics.PlaceTry, func() error { c.fails(); return nil })
			p, is := errors.AsType[*panics.Panic](err)
			if !is || !strings.Contains(p.What, c.what) {
				t.Fatalf("got %v, want it to say %q", err, c.what)
			}
			if !strings.Contains(p.Stack, "TestAPanicTellsWhere") || !strings.Contains(p.Stack, "panics_test.go:") || strings.HasPrefix(p.Stack, "runtime.") {
				t.Errorf("the stack is\n%s", p.Stack)
			}
			if !strings.Contains(log.String(), "panics_test.go") {
				t.Errorf("the log says %s", log.String())
			}
			all := leaktest.Plant(t, planted)
			all.In(t, "the log", log.Bytes())
			all.InValue(t, "the panic", p)
			if got := panicstest.Survived(t, reg, panics.PlaceTry); got != 1 {
				t.Errorf("counted %v times, want once", got)
			}
		})
	}
}

//go:noinline
func holding(secret [64]byte, text string) { panic(string(secret[:]) + text) }

func TestWithoutAGuardAPanicIsSurvivedAllTheSame(t *testing.T) {
	var g *panics.Guard
	if g.Do(panics.PlaceTry, func() { panic("a") }) {
		t.Error("it is said to have come to its end")
	}
	if want := errors.New("mine"); g.Try(panics.PlaceTry, func() error { return want }) != want { //nolint:errorlint // the very same
		t.Error("the error is not the function's")
	}
}

func TestALoopBeginsAnewAMomentAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, times := time.Now(), 0
		var g *panics.Guard
		g.Keep(t.Context(), panics.PlaceKeep, func() {
			if times++; times < 4 {
				panic("a")
			}
		})
		if took := time.Since(began); times != 4 || took != 3*time.Second {
			t.Errorf("it ran %d times within %s", times, took)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		g.Keep(ctx, panics.PlaceKeep, func() { panic("a") }) // returns
	})
}
