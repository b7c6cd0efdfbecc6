// Package leaktest searches for secrets, that a test has planted, in everything
// the tested code has written: logs, errors, metrics, records, screens, files. It
// is the one place that knows in which disguises a secret leaks.
package leaktest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Secrets is what a test has planted. The zero value finds nothing.
type Secrets struct {
	needles []needle
}

type needle struct {
	secret, how string
	text        []byte
}

// Plant names the secrets to look for: as their owners write them, and in every
// encoding a program could have put them into. One shorter than 8 bytes would be
// found everywhere and is a mistake.
func Plant(t testing.TB, secrets ...string) Secrets {
	t.Helper()
	var s Secrets
	for _, secret := range secrets {
		if len(secret) < 8 {
			t.Fatalf("the planted secret %q is too short to be looked for", secret)
		}
		s.add(secret, "as it is", secret)
		s.add(secret, "in hexadecimal", hex.EncodeToString([]byte(secret)))
		s.add(secret, "in a URL", url.QueryEscape(secret))
		s.add(secret, "in a URL's path", url.PathEscape(secret))
		quoted := strconv.Quote(secret)
		s.add(secret, "quoted", quoted[1:len(quoted)-1])
		if b, err := json.Marshal(secret); err == nil {
			s.add(secret, "in JSON", string(b[1:len(b)-1]))
		}
		for offset := range 3 {
			s.add(secret, "in base64", inside(base64.RawStdEncoding, secret, offset))
			s.add(secret, "in base64 for URLs", inside(base64.RawURLEncoding, secret, offset))
		}
		s.add(secret, "as numbers", strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]"))
	}
	return s
}

func (s *Secrets) add(secret, how, text string) {
	s.needles = append(s.needles, needle{secret, how, []byte(text)})
}

// inside is what a base64 of something longer holds when the secret stands in it
// so many bytes after a multiple of three: the digits that are the secret's alone.
func inside(e *base64.Encoding, secret string, offset int) string {
	digits := e.EncodeToString(append(make([]byte, offset), secret...))
	first := (offset*8 + 5) / 6
	last := (offset + len(secret)) * 8 / 6
	return digits[first:last]
}

// In fails the test for every secret that a text holds.
func (s Secrets) In(t testing.TB, where string, text []byte) {
	t.Helper()
	told := map[string]bool{}
	for _, n := range s.needles {
		if at := bytes.Index(text, n.text); at >= 0 && !told[n.secret] {
			told[n.secret] = true
			t.Errorf("%s holds the secret %q (%s): …%q…", where, n.secret, n.how, around(text, at))
		}
	}
}

func around(text []byte, at int) []byte {
	return text[max(0, at-60):min(len(text), at+60)]
}

// InValue fails the test for every secret that a value shows, in whatever way it
// could end up on a screen, in a log or in an answer.
func (s Secrets) InValue(t testing.TB, where string, value any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		s.In(t, where+" printed with "+verb, fmt.Appendf(nil, verb, value))
		s.In(t, where+" nested and printed with "+verb, fmt.Appendf(nil, verb, struct{ inner any }{value}))
	}
	if text, err := json.Marshal(value); err == nil {
		s.In(t, where+" in JSON", text)
	}
	var line bytes.Buffer
	log := zerolog.New(&line)
	log.Info().Any("any", value).Msg("")
	if o, ok := value.(zerolog.LogObjectMarshaler); ok {
		log.Info().Object("object", o).EmbedObject(o).Msg("")
	}
	if err, ok := value.(error); ok {
		log.Info().Err(err).Msg("")
	}
	s.In(t, where+" in the log", line.Bytes())
}

// InFolder fails the test for every secret in a file under a folder, and gives the
// number of files it has read.
func (s Secrets) InFolder(t testing.TB, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		s.In(t, path, b)
		return nil
	})
	if err != nil {
		t.Errorf("search %s: %v", dir, err)
	}
	return files
}
