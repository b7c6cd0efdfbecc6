package leaktest_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/popsee/webhooks/delivery/leaktest"
)

// found is a test that counts its failures instead of failing.
type found struct {
	testing.TB
	times int
}

func (f *found) Helper()               {}
func (f *found) Errorf(string, ...any) { f.times++ }

// A search that finds nothing proves nothing unless it would find something.
func TestEveryDisguiseIsSeenThrough(t *testing.T) {
	const secret = "pässwörd & \"quotes\" of s1?"
	s := leaktest.Plant(t, secret)
	for name, text := range map[string]string{
		"as it is": "x" + secret + "y", "hex": hex.EncodeToString([]byte("x" + secret)), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64, one byte in": base64.StdEncoding.EncodeToString([]byte("a" + secret + "b")),
		"base64, two bytes in": base64.URLEncoding.EncodeToString([]byte("ab" + secret + "cd")), "quoted": fmt.Sprintf("%q", secret), "bytes": fmt.Sprintf("%d", []byte("x"+secret)),
	} {
		f := &found{TB: t}
		if s.In(f, name, []byte(text)); f.times == 0 {
			t.Errorf("%s: not found in %s", name, text)
		}
	}
	for name, value := range map[string]any{"error": errors.New(secret), "map": map[string]string{"a": secret}, "struct": struct{ inner string }{secret}} {
		f := &found{TB: t}
		if s.InValue(f, name, value); f.times == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &found{TB: t}
	if n := s.InFolder(f, dir); n != 1 || f.times == 0 {
		t.Errorf("%d files, found %d times", n, f.times)
	}
	if s.In(t, "what is innocent", []byte("password")); s.InFolder(t, t.TempDir()) != 0 {
		t.Error("an empty folder holds files")
	}
}
