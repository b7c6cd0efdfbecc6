package checks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// panicking is the survey whose events the mistaken program cannot bear.
const panicking = "panicking"

// mistakes are what the mistaken program has in place of lines of ours: what neither of
// two alerts warns of can be brought about from outside. A panic that somebody can
// cause is mended; and of the acknowledgements that wait for NATS there would have to be
// more than NATS hands out events.
var mistakes = []struct{ file, ours, theirs string }{
	{"consumer/later.go", "const maxLater = 100_000\n", "const maxLater = 1\n"},
	{
		"consumer/handle.go", "\te, err := c.o.Layout.Names.DecodeMax(",
		"\tif c.o.Layout.Names.SubjectSurvey(in.Subject()) == \"" + panicking + "\" {\n\t\tpanic(\"a mistake\")\n\t}\n\te, err := c.o.Layout.Names.DecodeMax(",
	},
}

// overlay writes the mistakes into a folder, for go build's -overlay.
func overlay(dir string) (file string, err error) {
	replaced := map[string]string{}
	for i, m := range mistakes {
		path, err := filepath.Abs(filepath.Join("../..", m.file))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if n := bytes.Count(text, []byte(m.ours)); n != 1 {
			return "", fmt.Errorf("%s has %q %d times: the mistake has to be made elsewhere", m.file, m.ours, n)
		}
		replaced[path] = filepath.Join(dir, fmt.Sprintf("mistake%d.go", i))
		if err := os.WriteFile(replaced[path], bytes.Replace(text, []byte(m.ours), []byte(m.theirs), 1), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// mistakesOfOurOwn runs the mistaken program: an event makes it panic, and then NATS
// goes while more answers are on their way than acknowledgements may wait.
func mistakesOfOurOwn(t *testing.T) {
	server := alone(t)
	s := start(t, options{program: mistakenBinary, nats: server.url, args: []string{"--event-max-bytes", "512KiB"}})
	first := s.awaitReady()
	s.publish(panicking, 1, 10)
	last := s.await("a panic", func(got scraped) bool { return got.value("webhooks_panics_total") > 0 })
	s.wantFiring(first, last, "WebhooksPanics")

	gone, asked := make(chan struct{}), atomic.Int64{}
	s.endpoint("slow", owner(t, func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-gone:
		case <-r.Context().Done():
		}
	}), true)
	s.publish("slow", 10, 10)
	s.await("more attempts than have room", func(scraped) bool { return asked.Load() > 2 })
	server.kill()
	s.await("NATS away", func(got scraped) bool { return got.value("webhooks_nats_connected") == 0 })
	close(gone)
	last = s.await("an acknowledgement too many", func(got scraped) bool { return got.value("webhooks_acks_dropped_total") > 0 })
	s.wantFiring(first, last, "WebhooksAcksDropped")
}
