package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/backup"
)

type backupCommand struct {
	config.Settings `embed:""`

	Folder      string `arg:"" name:"folder" placeholder:"DIR" help:"Where to write it: a new folder."`
	Offline     bool   `name:"offline" help:"The service is stopped: open the data folder of its embedded server (--data-dir), whatever NATS_URL says."`
	WithKeyring bool   `name:"with-keyring" help:"Put the key ring beside it. Whoever has both can read the secrets: without it, keep the ring elsewhere."`
	DryRun      bool   `name:"dry-run" help:"Write nothing; show what would be copied."`
	JSON        bool   `name:"json" help:"Print the backup's manifest as JSON."`
}

// Run copies all that a deployment has on NATS into a folder.
func (c *backupCommand) Run(w *world) (err error) {
	o := backup.Options{Folder: c.Folder, Version: programVersion(), DryRun: c.DryRun}
	if c.WithKeyring {
		if o.Keyring, err = c.keyring(); err != nil {
			return err
		}
	}
	s, end, err := openWhole(w, c.Settings, c.Offline, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	bars := &phases{w: w}
	o.Progress = bars.step
	started := time.Now()
	m, err := backup.Take(w.ctx, s.js, s.names, o)
	bars.end()
	if errors.Is(err, backup.ErrNotVacant) {
		return usage{withHint("name a new one, with the date for example; one that was broken off has no manifest.json and can be removed", "%w", err)}
	}
	if err != nil {
		return err
	}
	return c.print(w, m, time.Since(started))
}

// keyring is the ring's file, or the value that was given in its place.
func (c *backupCommand) keyring() ([]byte, error) {
	ring := []byte(c.Keys.Inline.Reveal())
	if len(ring) == 0 {
		path, _ := c.KeyringPath()
		if path == "" {
			return nil, usage{withHint("give the file with --keyring, or leave --with-keyring out and keep the ring elsewhere", "--with-keyring: no key ring is known")}
		}
		var err error
		if ring, err = os.ReadFile(path); err != nil {
			return nil, withHint("give the file with --keyring", "read the key ring: %w", err)
		}
	}
	if _, err := config.ParseKeyring(ring); err != nil {
		return nil, fmt.Errorf("the key ring that was to be put beside the backup: %w", err)
	}
	return ring, nil
}

func (c *backupCommand) print(w *world, m backup.Manifest, took time.Duration) error {
	if c.JSON {
		return w.printJSON(m)
	}
	printArchives(w, m)
	for _, stream := range m.Missing {
		w.printf("missing: stream %s is not there, and so not in the backup; webhooks provision makes it\n", stream)
	}
	if m.Planned {
		w.printf("would be copied: %d messages, %s of streams\n", m.Events, config.Bytes(m.Bytes))
		return nil
	}
	w.printf("backed up to %s: %d messages, %s, in %s; all that was acknowledged before %s\n", m.Folder, m.Events, config.Bytes(m.Bytes), took.Round(time.Millisecond), shortTime(m.Begun))
	switch {
	case m.Keyring != "":
		w.printf("the key ring is in it: whoever has this folder can read the secrets\n")
	case len(m.Keys) > 0:
		w.printf("the key ring is not in it: keep a copy elsewhere; secrets are sealed with %s\n", strings.Join(m.Keys, ", "))
	}
	w.printf("it holds customers' answers: keep it as you keep those\n")
	return nil
}

func printArchives(w *world, m backup.Manifest) {
	t := w.newTable("STREAM", "MESSAGES", "SIZE", "SEQUENCES")
	for _, a := range m.Streams {
		sequences := fmt.Sprintf("%d to %d", a.First, a.Last)
		if a.Messages == 0 {
			sequences = ""
		}
		t.AppendRow([]any{a.Stream, a.Messages, config.Bytes(a.Bytes).String(), sequences})
	}
	t.Render()
}
