package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/backup"
	"github.com/popsee/webhooks/consumer/provision"
)

type restoreCommand struct {
	config.Settings `embed:""`

	Folder  string `arg:"" name:"folder" placeholder:"DIR" help:"A folder that webhooks backup has written."`
	Offline bool   `name:"offline" help:"Restore into a data folder of an embedded server (--data-dir), for a service that starts afterwards, whatever NATS_URL says."`
	DryRun  bool   `name:"dry-run" help:"Restore nothing; check the backup, and that it can be restored there."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Run makes a deployment of a backup, on a NATS that has none.
func (c *restoreCommand) Run(w *world) (err error) {
	s, end, err := openWhole(w, c.Settings, c.Offline, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := s.need(w.ctx, "restorer", "$JS.API.STREAM.RESTORE."+noStream, "$JS.SNAPSHOT.RESTORE."+noStream+".x", "$JS.API.STREAM.DELETE."+noStream); err != nil {
		return err
	}
	settings := c.Settings
	if c.Offline {
		settings.NATS = config.NATSSettings{}
	} else if !settings.NATS.External() {
		settings.NATS.URL = bus.DefaultURL // an embedded server is somebody else's process here: its own limits count
	}
	l, err := arrange(w.ctx, s.js, settings)
	if err != nil {
		return err
	}
	bars := &phases{w: w}
	started := time.Now()
	r, err := backup.Restore(w.ctx, s.js, backup.RestoreOptions{Folder: c.Folder, Layout: l, DryRun: c.DryRun, Progress: bars.step})
	bars.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return w.printJSON(r)
	}
	c.print(w, r, time.Since(started))
	return nil
}

func (c *restoreCommand) print(w *world, r backup.Restored, took time.Duration) {
	m := r.Manifest
	printArchives(w, m)
	if m.Newer > 0 {
		w.printf("newer: %d messages are in a format of a newer version than the one that made this backup (%s): they are restored as they are, and left alone\n", m.Newer, m.Version)
	}
	if r.Planned {
		w.printf("the backup of %s by version %s is whole, and can be restored here with %s\n", shortTime(m.Begun), m.Version, copiesOf(r.Replicas))
		return
	}
	for _, f := range r.Bus {
		if f.Verdict == provision.Differs {
			w.printf("otherwise: %s %s is set up as it was, not as this version would: webhooks provision --dry-run\n", f.Kind, f.Name)
		}
	}
	if r.Behind != nil {
		w.printf("not every node has everything yet, and the cluster goes on by itself: %s\n", strings.Join(r.Behind, ", "))
	}
	w.printf("restored the backup of %s with %s in %s\n", shortTime(m.Begun), copiesOf(r.Replicas), took.Round(time.Millisecond))
	if r.Next > 0 {
		w.printf("the live consumer goes on at stream sequence %d, where it stood: nothing needs to be resumed\n", r.Next)
	}
	w.printf("%s\n", keyringAdvice(m))
	w.printf("what was delivered after the backup began is sent again, under the same ids; what webhooks forget erased since is back: erase it again\n")
}

// keyringAdvice says which key ring the service needs now.
func keyringAdvice(m backup.Manifest) string {
	switch {
	case m.Keyring != "":
		return "start every replica with the key ring " + filepath.Join(m.Folder, "keyring.json") + ", or a copy of it (--keyring)"
	case len(m.Keys) > 0:
		return "start every replica with the key ring that holds " + strings.Join(m.Keys, ", ") + " (--keyring): without it no request can be signed, and events wait"
	default:
		return "no endpoint has a secret: any key ring does"
	}
}

func copiesOf(n int) string {
	if n == 1 {
		return "one copy of each stream"
	}
	return fmt.Sprintf("%d copies of each stream", n)
}
