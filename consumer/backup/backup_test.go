package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/backup"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
)

func TestARestoredDeploymentGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		w.publish(id)
	}
	w.settle(3)
	w.park(2)
	w.bury(3)
	folder, m := w.take(nil)
	if !m.Live || m.Settled != 3 || m.Missing != nil {
		t.Errorf("the manifest has the live consumer at %d (%v), missing %v", m.Settled, m.Live, m.Missing)
	}
	js, r := restore(t, folder)
	if r.Next != 4 {
		t.Errorf("it goes on at %d, want 4", r.Next)
	}
	if got := waiting(t, js); !slices.Equal(got, []uint64{2}) {
		t.Errorf("in the lanes: %v", got)
	}
	if tally, err := deadletters.New(js, w.layout.Names).Count(t.Context(), deadletters.Filter{}); err != nil || tally.Letters != 1 {
		t.Errorf("%d dead letters, %v", tally.Letters, err)
	}
	if alarm, err := mark.Check(t.Context(), js, w.layout); alarm != nil || err != nil {
		t.Errorf("the mark: %v, %v", alarm, err)
	}
	there, err := w.js.Stream(t.Context(), "RESPONSES")
	must(t, err)
	here, err := js.Stream(t.Context(), "RESPONSES")
	must(t, err)
	if !layout.Born(here.CachedInfo()).Equal(there.CachedInfo().Created) {
		t.Errorf("it was born %s, the one that was backed up %s", layout.Born(here.CachedInfo()), there.CachedInfo().Created)
	}
	c, err := js.Consumer(t.Context(), "RESPONSES", "webhooks")
	must(t, err)
	msg, err := c.Next()
	must(t, err)
	if string(msg.Data()) != "d" {
		t.Errorf("the next event is %q, want d", msg.Data())
	}

	t.Run("and so does one that is restored from a backup of it", func(t *testing.T) {
		second := &world{t: t, js: js, layout: w.layout}
		folder, m := second.take(nil)
		js, _ := restore(t, folder)
		again, err := js.Stream(t.Context(), "RESPONSES")
		must(t, err)
		if !m.Born.Equal(there.CachedInfo().Created) || !layout.Born(again.CachedInfo()).Equal(m.Born) {
			t.Errorf("born %s and %s, want %s", m.Born, layout.Born(again.CachedInfo()), there.CachedInfo().Created)
		}
	})
	t.Run("but never over something that is there", func(t *testing.T) {
		_, err := backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder})
		occupied, ok := errors.AsType[*backup.Occupied](err)
		if !ok || !slices.Contains(occupied.What, "stream RESPONSES") {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhatComesBackIntoTheLanesIsInTheBackup has events that were settled long ago
// go back into the lanes after those were copied, as what was owed does.
func TestWhatComesBackIntoTheLanesIsInTheBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		w.publish("x")
	}
	w.settle(4)
	w.park(1)
	folder, m := w.take(func(doing string) {
		if doing == "copying KV_webhook_health" {
			w.park(2)
			w.park(5) // not settled: the live consumer brings it
		}
	})
	if m.Late != 1 {
		t.Errorf("%d came late, want 1", m.Late)
	}
	js, _ := restore(t, folder)
	if got := waiting(t, js); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("in the lanes: %v, want 1 and 2", got)
	}
	s, err := js.Stream(t.Context(), "WEBHOOK_LANES")
	must(t, err)
	if last := s.CachedInfo().State.LastSeq; last != 2 {
		t.Errorf("the lanes end at %d, want 2", last)
	}
}

// TestADeadLetterThatIsRedrivenMeanwhileIsInTheBackup has the letter gone before the
// letters are copied, and its event in the lanes after those were looked at.
func TestADeadLetterThatIsRedrivenMeanwhileIsInTheBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.publish("x")
	}
	w.settle(3)
	w.bury(1)
	w.bury(2)
	times := 0
	folder, _ := w.take(func(doing string) {
		if doing != "copying WEBHOOK_DEAD_LETTERS" {
			return
		}
		if times++; times == 1 {
			w.park(1)
			s, err := w.js.Stream(t.Context(), "WEBHOOK_DEAD_LETTERS")
			must(t, err)
			must(t, s.DeleteMsg(t.Context(), 1))
		}
	})
	js, _ := restore(t, folder)
	tally, err := deadletters.New(js, w.layout.Names).Count(t.Context(), deadletters.Filter{})
	must(t, err)
	if got := waiting(t, js); !slices.Equal(got, []uint64{1}) || tally.Letters != 1 || times != 2 {
		t.Errorf("in the lanes: %v, and %d letters, copied %d times", got, tally.Letters, times)
	}
}

// TestWhatWasSettledAboveTheFloorAndComesBackIntoTheLanesIsInTheBackup has an event let go
// while an older one is in hand. It stands above the floor, and a single server's consumer
// does not bring it again; a cluster's goes back to the floor, and does.
func TestWhatWasSettledAboveTheFloorAndComesBackIntoTheLanesIsInTheBackup(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		start  func(testing.TB) jetstream.JetStream
		letter bool     // it was buried, and is redriven before anybody has looked at the letters; or else owed
		lanes  []uint64 // what waits in the restored deployment
		live   []uint64 // and what its live consumer brings
	}{
		"owed and brought":                     {bustest.Start, false, []uint64{5}, []uint64{4, 6, 7}},
		"a dead letter and redriven":           {bustest.Start, true, []uint64{5}, []uint64{4, 6, 7}},
		"owed and brought, on a cluster":       {bustest.StartCluster, false, nil, []uint64{4, 5, 6, 7}},
		"a dead letter, redriven on a cluster": {bustest.StartCluster, true, nil, []uint64{4, 5, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, tc.start(t))
			for range 7 {
				w.publish("x")
			}
			w.settle(3)
			w.letGo(w.hold(3)[1])
			if tc.letter {
				w.bury(5)
			}
			copied := false
			folder, m := w.take(func(doing string) {
				if doing != "checking WEBHOOK_LANES" || copied {
					return
				}
				copied = true
				w.park(4) // it was in hand
				w.park(5)
				w.park(7)              // it was given to nobody
				w.park(w.publish("y")) // it is not in the copy
				if tc.letter {
					s, err := w.js.Stream(t.Context(), "WEBHOOK_DEAD_LETTERS")
					must(t, err)
					must(t, s.DeleteMsg(t.Context(), 1))
				}
			})
			if m.Settled != 3 || m.Late != len(tc.lanes) {
				t.Errorf("settled up to %d, %d came late; want 3 and %d", m.Settled, m.Late, len(tc.lanes))
			}
			js, _ := restore(t, folder)
			if got := waiting(t, js); !slices.Equal(got, tc.lanes) {
				t.Errorf("in the lanes: %v, want %v", got, tc.lanes)
			}
			if got := coming(t, js); !slices.Equal(got, tc.live) {
				t.Errorf("the live consumer brings %v, want %v", got, tc.live)
			}
		})
	}
}

// TestWhatAReplayParksMeanwhileIsInTheBackup has a replay park events after the lanes were
// looked at for the last time, and say so in its record.
func TestWhatAReplayParksMeanwhileIsInTheBackup(t *testing.T) {
	t.Parallel()
	for name, parks := range map[string]int{"and goes on": 1, "and ends": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for range 3 {
				w.publish("x")
			}
			w.settle(3)
			w.replay("job", 3)
			folder, _ := w.take(func(doing string) {
				if doing == "copying WEBHOOK_DEAD_LETTERS" {
					w.parkReplayed("job", parks)
				}
			})
			js, _ := restore(t, folder)
			waits := waiting(t, js)
			there := slices.Sorted(slices.Values(append(replayed(t, js, "job"), waits...)))
			if !slices.Equal(there, []uint64{1, 2, 3}) {
				t.Errorf("the lanes have %v, and with what the replay sends that is %v; want 1, 2 and 3", waits, there)
			}
		})
	}
}

func TestABackupThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("a")
	w.settle(1)
	whole := filepath.Join(t.TempDir(), "backup")
	_, err := backup.Take(t.Context(), w.js, w.layout.Names, backup.Options{Folder: whole, Keyring: []byte(`{"a":"ring"}`)})
	must(t, err)
	events := filepath.Join("streams", "RESPONSES")
	for name, tc := range map[string]struct {
		harm func(t *testing.T, folder string)
		want string
	}{
		"broken off":       {func(t *testing.T, f string) { t.Helper(); must(t, os.Remove(filepath.Join(f, "manifest.json"))) }, "manifest.json"},
		"a byte changed":   {func(t *testing.T, f string) { t.Helper(); change(t, filepath.Join(f, events, "stream.arc.s2")) }, "RESPONSES"},
		"settings changed": {func(t *testing.T, f string) { t.Helper(); change(t, filepath.Join(f, events, "backup.json")) }, "RESPONSES"},
		"a file missing": {func(t *testing.T, f string) {
			t.Helper()
			must(t, os.Remove(filepath.Join(f, events, "stream.arc.s2")))
		}, "RESPONSES"},
		"cut short": {func(t *testing.T, f string) {
			t.Helper()
			must(t, os.Truncate(filepath.Join(f, events, "stream.arc.s2"), 40))
		}, "RESPONSES"},
		"a stream taken out": {func(t *testing.T, f string) {
			t.Helper()
			must(t, os.RemoveAll(filepath.Join(f, "streams", "WEBHOOK_LANES")))
		}, "WEBHOOK_LANES"},
		"the key ring changed": {func(t *testing.T, f string) { t.Helper(); change(t, filepath.Join(f, "keyring.json")) }, "key ring"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "backup")
			must(t, os.CopyFS(folder, os.DirFS(whole)))
			tc.harm(t, folder)
			js := bustest.Start(t)
			_, err := backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder})
			if broken, ok := errors.AsType[*backup.Damaged](err); !ok || !strings.Contains(err.Error(), tc.want) || broken.Hint() == "" {
				t.Errorf("got %v", err)
			}
			wantEmpty(t, js)
		})
	}
}

func wantEmpty(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		t.Errorf("stream %s is there", name)
	}
	must(t, names.Err())
}

func TestABackupOfANewerVersionIsLeftToIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder, _ := w.take(nil)
	path := filepath.Join(folder, "manifest.json")
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(b), `"format": "1"`, `"format": "2"`, 1)), 0o600))
	_, err = backup.Check(t.Context(), folder, nil)
	if newer, ok := errors.AsType[*backup.Newer](err); !ok || newer.Format != "2" {
		t.Errorf("got %v", err)
	}
}

// TestARestoreThatFailsLeavesNothing ends a restore before its last stream.
func TestARestoreThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("a")
	w.settle(1)
	w.park(1)
	folder, _ := w.take(nil)
	js := bustest.Start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err := backup.Restore(ctx, js, backup.RestoreOptions{Folder: folder, Progress: func(doing string, _, _ int64) {
		if doing == "restoring RESPONSES" {
			cancel(enough)
		}
	}})
	if err == nil {
		t.Fatal("it succeeded")
	}
	wantEmpty(t, js)
	if _, err := backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder}); err != nil {
		t.Errorf("and then: %v", err)
	}
}

// TestAStreamThatNobodyReceivesIsSentAgain stands still for longer than the server waits
// for the rest of a stream, which is five seconds on its own clock.
func TestAStreamThatNobodyReceivesIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("a")
	w.settle(1)
	folder, _ := w.take(nil)
	js := bustest.Start(t)
	begun := 0
	_, err := backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder, Progress: func(doing string, _, _ int64) {
		if doing != "restoring RESPONSES" {
			return
		}
		if begun++; begun == 1 {
			time.Sleep(6 * time.Second)
		}
	}})
	must(t, err)
	if begun < 2 {
		t.Error("it was sent once")
	}
	s, err := js.Stream(t.Context(), w.layout.Names.Stream())
	must(t, err)
	if got := s.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("%d events are there, want one", got)
	}
}

func TestABackupIsNeverWrittenOverAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder, _ := w.take(nil)
	_, err := backup.Take(t.Context(), w.js, w.layout.Names, backup.Options{Folder: folder})
	if !errors.Is(err, backup.ErrNotVacant) {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Check(t.Context(), folder, nil); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("a")
	folder := filepath.Join(t.TempDir(), "backup")
	m, err := backup.Take(t.Context(), w.js, w.layout.Names, backup.Options{Folder: folder, DryRun: true})
	must(t, err)
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) || m.Events != 2 { // the event, and the mark
		t.Errorf("%d messages, %v", m.Events, err)
	}
	folder, _ = w.take(nil)
	js := bustest.Start(t)
	_, err = backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder, DryRun: true})
	must(t, err)
	wantEmpty(t, js)
}
