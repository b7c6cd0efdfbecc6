package documents

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/popsee/webhooks/deployments/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

// pages are the README and every page of deployments/, from the root.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "deployments"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err == nil && d.Name() == "node_modules":
			return fs.SkipDir
		case err == nil && strings.HasSuffix(path, ".md"):
			path, err = filepath.Rel(root, path)
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTheCommandsOfTheDocumentsDoWhatTheySay runs them all.
func TestTheCommandsOfTheDocumentsDoWhatTheySay(t *testing.T) {
	bin, project := tools(t), project(t)
	running := map[string]*sync.Mutex{} // folder -> held by the page whose service keeps its data there, as two pages say
	for _, page := range pages(t) {
		running[filepath.Dir(page)] = &sync.Mutex{}
	}
	for i, page := range pages(t) {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(root, page))
			if err != nil {
				t.Fatal(err)
			}
			fences, err := fencesOf(string(text))
			if err != nil {
				t.Fatal(err)
			}
			for i := range fences {
				look(t, &fences[i])
			}
			if t.Failed() {
				return
			}
			r := &reader{told: strings.Contains(string(text), "NATS_URL=nats"), folder: filepath.Join(project, filepath.Dir(page)), scratch: t.TempDir(), bin: bin}
			for j, address := range []*string{&r.nats, &r.admin, &r.hook} {
				if *address, err = freeAddress(26_000 + 300*i + 100*j); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(string(text), "\nwebhooks run") {
				running[filepath.Dir(page)].Lock()
				defer running[filepath.Dir(page)].Unlock()
			}
			r.prepare(t)
			if strings.Contains(string(text), "https://example.com/") {
				r.owner(t)
			}
			r.read(t, fences)
		})
	}
}

// look refuses a fence that is not what it is said to be, and tells why one is not
// run.
func look(t *testing.T, f *fence) {
	t.Helper()
	if err := f.check(); err != nil {
		t.Error(err)
	}
	switch f.language {
	case "sh":
		if f.notRun != "" {
			t.Logf("NOT RUN: the commands of line %d: %s", f.line, f.notRun)
		}
	case "json":
		if !json.Valid([]byte(f.text)) {
			t.Errorf("line %d: this is no JSON", f.line)
		}
	case "go":
		if _, err := parser.ParseFile(token.NewFileSet(), "", "package p; func f() error {\n"+f.text+"}", 0); err != nil {
			t.Errorf("line %d: this is no Go: %s", f.line, err)
		}
	case "sql", "text":
	default:
		t.Errorf("line %d: nothing is known of the language %q", f.line, f.language)
	}
}

// prepare is what a page takes for granted: the NATS configuration of this
// project, with a folder and ports that this machine has.
func (r *reader) prepare(t *testing.T) {
	t.Helper()
	if filepath.Base(r.folder) != "nats" {
		return
	}
	conf := filepath.Join(r.folder, "nats.conf")
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for from, to := range map[string]string{"0.0.0.0:4222": r.nats, "127.0.0.1:8222": "127.0.0.1:-1", "/data/jetstream": filepath.Join(r.scratch, "jetstream")} {
		if !strings.Contains(text, from) {
			t.Fatalf("nats.conf has no %s to put another in place of", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// owner plays the survey owner's server that a page calls example.com.
func (r *reader) owner(t *testing.T) {
	t.Helper()
	p, err := process.Start(r.scratch, "owner", filepath.Join(r.bin, "webhooks"), r.environment(), "listen", "--listen", r.hook)
	if err != nil {
		t.Fatal(err)
	}
	r.left = append(r.left, left{p, fence{}})
}

// tools are the programs that the pages take for installed.
func tools(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	if err := process.Build(t.Context(), bin, "github.com/popsee/webhooks/cmd/webhooks", "github.com/nats-io/nats-server/v2"); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"bash", "curl", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("NOT RUN: %s is not installed; run: bash deployments/receivers/setup.sh", program)
		}
	}
	return bin
}

// project is a copy of this one, as a clone of it would be, with the packages that
// the set-up has installed for Node.js.
func project(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	from, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(folder, strings.TrimPrefix(path, from))
		switch name := d.Name(); {
		case d.IsDir() && name == "node_modules":
			return cmp.Or(os.Symlink(path, to), fs.SkipDir)
		case d.IsDir() && path != from && (strings.HasPrefix(name, ".") || name == "dist" || name == "webhooks-data"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		return cmp.Or(err, os.WriteFile(to, b, 0o600))
	})
	if err != nil {
		t.Fatal(fmt.Errorf("copy the project: %w", err))
	}
	return folder
}
