package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheUnitIsOneSystemdTakes asks systemd itself, and how much the service could
// reach if it were taken over. Neither may be skipped: without systemd-analyze it
// fails and says so.
func TestTheUnitIsOneSystemdTakes(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("NOT RUN: webhooks.service was not verified: %v; install the package systemd", err)
	}
	// Its program is not installed where the tests run: the one they built stands in.
	unit, err := os.ReadFile("../webhooks.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/local/bin/webhooks"
	if !strings.Contains(string(unit), "ExecStart="+program+" run") {
		t.Fatalf("the unit does not start %s run", program)
	}
	copied := filepath.Join(t.TempDir(), "webhooks.service")
	if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(unit), program, theBinary)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", copied).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths: 0 is nothing to reach, 100 everything.
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", copied).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
