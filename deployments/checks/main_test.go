package checks

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the tests start, built once.
var theBinary, mistakenBinary, natsServer, promtool string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "webhooks-checks")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build builds the service as the Dockerfile does, once more with mistakes, the NATS
// server that the product embeds, and promtool without the service discoveries it does not need;
// none with cgo, so that what they share is compiled once.
func build(dir string) error {
	theBinary, mistakenBinary = filepath.Join(dir, "webhooks"), filepath.Join(dir, "webhooks-mistaken")
	natsServer, promtool = filepath.Join(dir, "nats-server"), filepath.Join(dir, "promtool")
	mistaken, err := overlay(dir)
	if err != nil {
		return err
	}
	for _, b := range []struct {
		at   string
		args []string
	}{
		{"../..", []string{"-buildvcs=false", "-ldflags", "-s -w -X main.version=v0.0.0-checks", "-o", theBinary, "./cmd/webhooks"}},
		{"../..", []string{"-buildvcs=false", "-overlay", mistaken, "-ldflags", "-s -w", "-o", mistakenBinary, "./cmd/webhooks"}},
		{"../..", []string{"-o", natsServer, "github.com/nats-io/nats-server/v2"}},
		{".", []string{"-tags", "remove_all_sd", "-o", promtool, "github.com/prometheus/prometheus/cmd/promtool"}},
	} {
		cmd := exec.CommandContext(context.Background(), "go", append([]string{"build"}, b.args...)...)
		cmd.Dir, cmd.Env = b.at, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
	}
	return nil
}

// TestTheImageHoldsAStaticBinaryAndIsNotRoot reads the Dockerfile, and the binary
// that its build line makes. That this binary runs where there is nothing else is
// shown by the fault "names that cannot be resolved", which starts it in an empty folder.
func TestTheImageHoldsAStaticBinaryAndIsNotRoot(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(text), "\nFROM scratch\n")
	if !found {
		t.Fatal("the image is not made from scratch")
	}
	for _, want := range []string{`(?m)^USER 65532:65532$`, `(?m)^ENTRYPOINT \["/webhooks"\]$`, `(?m)^COPY --from=build \S*ca-certificates.crt `} {
		if !regexp.MustCompile(want).MatchString(last) {
			t.Errorf("the image has no %s", want)
		}
	}
	if regexp.MustCompile(`(?m)^RUN `).MatchString(last) {
		t.Error("something is to run where there is no shell")
	}
	if !strings.Contains(string(text), `CGO_ENABLED=0 go build -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}"`) {
		t.Error("the Dockerfile builds otherwise than these tests")
	}
	f, err := elf.Open(theBinary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary needs %v: %v", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a dynamic linker")
		}
	}
	goVersion := regexp.MustCompile(`(?m)^FROM golang:([0-9.]+)-`).FindStringSubmatch(string(text))
	mod, err := os.ReadFile("../../go.mod")
	if err != nil || goVersion == nil || !strings.Contains(string(mod), "\ngo "+goVersion[1]) {
		t.Errorf("the Dockerfile builds with Go %v, go.mod wants another: %v", goVersion, err)
	}
	ignore, err := os.ReadFile("../Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"cmd", "config", "consumer", "delivery", "events", "go.mod", "go.sum"} {
		if !strings.Contains(string(ignore), "\n!"+folder+"\n") {
			t.Errorf("the build does not get %s", folder)
		}
	}
}
