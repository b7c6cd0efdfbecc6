package delivery

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// envAlone names the test that this process was started for.
const envAlone = "WEBHOOKS_TEST_ALONE"

// alone says whether this test has a process of its own, in which nobody has looked at the environment yet. If not, it
// runs the test in one, with these additions to the environment, and fails if it fails there.
func alone(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(envAlone) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(append(os.Environ(), env...), envAlone+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}
