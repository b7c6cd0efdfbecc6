package main

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
)

// buildNATSServer builds the real nats-server, of the version that is embedded, into
// the script's folder.
func buildNATSServer(ts *testscript.TestScript, _ bool, _ []string) {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", ts.MkAbs("nats-server"), "github.com/nats-io/nats-server/v2")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as all tests build it, so that it is compiled once
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("build nats-server: %v\n%s", err, out)
	}
}

// waitAlarm waits until the live consumer must not go on.
func waitAlarm(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if alarm, err := mark.Check(context.Background(), js, layout.Layout{}); err == nil && alarm != nil {
			return
		}
	}
	ts.Fatalf("there is no alarm after %s", patience)
}
