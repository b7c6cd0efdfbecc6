package main

import (
	"errors"
	"io/fs"
	"time"

	"github.com/popsee/webhooks/config"
)

// keysCommand groups what is done with the keys that secrets are sealed with.
type keysCommand struct {
	Generate keysGenerate `cmd:"" help:"Make a key ring for the service: what opens the secrets of endpoints."`
	List     keysList     `cmd:"" help:"List the keys of a ring."`
	Rotate   keysRotate   `cmd:"" help:"Make a new key, which seals from then on; what the older ones sealed still opens."`
	Reseal   keysReseal   `cmd:"" help:"Seal every endpoint's secrets anew with the newest key."`
	Remove   keysRemove   `cmd:"" help:"Remove a key that nothing is sealed with any more."`
	Public   keysPublic   `cmd:"" help:"Print the public ring: what the survey platform seals secrets with, and can open nothing with."`
}

type keysGenerate struct {
	keyringFlags `embed:""`
	IfMissing    bool `name:"if-missing" help:"Succeed, and do nothing, where there is a ring already."`
}

// Run makes a ring with one key. It never replaces a file: that would lose
// every sealed secret.
func (c *keysGenerate) Run(w *world) error {
	key, err := config.GenerateKey()
	if err != nil {
		return err
	}
	ring, err := config.NewKeyring(key)
	if err != nil {
		return err
	}
	path := c.path()
	if err := config.CreateKeyring(path, ring); err != nil {
		if errors.Is(err, fs.ErrExist) && c.IfMissing {
			return c.keep(w)
		}
		if errors.Is(err, fs.ErrExist) {
			return withHint("every replica uses the same ring: give them this file; for another ring name another file with --keyring", "there is a key ring at %s already", path)
		}
		return err
	}
	w.printf("made %s with key %s\ngive this file to every replica (--keyring), keep a copy, and let nobody else read it\n", path, key.ID)
	return nil
}

// keep checks that the ring that is there can be used.
func (c *keysGenerate) keep(w *world) error {
	ring, err := c.load()
	if err != nil {
		return err
	}
	w.printf("kept %s, which seals with key %s\n", c.path(), ring.Keys()[0].ID)
	return nil
}

type keysList struct {
	keyringFlags `embed:""`
	JSON         bool `name:"json" help:"Print JSON, one key a line."`
}

// keyView is a key as it is shown: nothing that opens anything.
type keyView struct {
	ID      string `json:"id"`
	Created string `json:"created_at,omitempty"`
	Seals   bool   `json:"seals"` // the one new secrets are sealed with
}

// Run lists the keys.
func (c *keysList) Run(w *world) error {
	ring, err := c.load()
	if err != nil {
		return err
	}
	t := w.newTable("KEY", "CREATED", "")
	for i, key := range ring.Keys() {
		v := keyView{ID: key.ID, Created: key.CreatedAt.UTC().Format(time.RFC3339), Seals: i == 0}
		if c.JSON {
			if err := w.printJSON(v); err != nil {
				return err
			}
			continue
		}
		use := "opens"
		if v.Seals {
			use = "seals and opens"
		}
		t.AppendRow([]any{v.ID, v.Created, use})
	}
	if !c.JSON {
		t.Render()
	}
	return nil
}

type keysPublic struct {
	keyringFlags `embed:""`
}

// Run prints the public ring.
func (c *keysPublic) Run(w *world) error {
	ring, err := c.load()
	if err != nil {
		return err
	}
	b, err := ring.Public().Encode()
	if err != nil {
		return err
	}
	w.printf("%s", b)
	return nil
}
