package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// waitReplays waits until no replay runs.
func waitReplays(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		all, err := replay.List(context.Background(), js, events.Names{})
		ts.Check(err)
		if !slices.ContainsFunc(all, func(r replay.Record) bool { return r.State == replay.Running }) {
			return
		}
	}
	ts.Fatalf("replays still run after %s", patience)
}

// replayID puts the id of a replay that was printed as JSON into REPLAY.
func replayID(ts *testscript.TestScript, _ bool, args []string) {
	var r replay.Record
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
	ts.Setenv("REPLAY", r.ID)
}
