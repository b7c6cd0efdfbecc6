package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/events"
)

type keysRotate struct {
	keyringFlags `embed:""`
}

// Run puts a new key first in the ring. The file is replaced in one step, and
// replicas that read it take it without a restart.
func (c *keysRotate) Run(w *world) error {
	if c.Inline != "" {
		return usage{withHint("write the ring to a file, rotate that, and put its content into the variable", "a ring that was given as a value cannot be rotated")}
	}
	ring, err := c.load()
	if err != nil {
		return err
	}
	key, err := config.GenerateKey()
	if err != nil {
		return err
	}
	if ring, err = ring.Rotate(key); err != nil {
		return withHint("remove one that nothing is sealed with: webhooks keys remove", "%w", err)
	}
	if err := config.ReplaceKeyring(c.path(), ring); err != nil {
		return err
	}
	w.printf(`key %s seals from now on; %s still open
1. give %s to every replica; they take it within seconds, without a restart, and then show webhooks_keyring_key{key=%q} in /metrics
2. give the platform what it seals with:  webhooks keys public
3. seal anew what the older keys hold:    webhooks keys reseal
4. remove the older keys:                 webhooks keys remove KEY
`, key.ID, strings.Join(ring.IDs()[1:], ", "), c.path(), key.ID)
	return nil
}

// resealTime bounds one endpoint's part of a reseal.
const resealTime = 10 * time.Second

type keysReseal struct {
	connection   `embed:""`
	keyringFlags `embed:""`
	DryRun       bool `name:"dry-run" help:"Touch nothing; say what would be sealed anew."`
}

// resealing is one run over every endpoint.
type resealing struct {
	*config.Editor
	ring    *config.Keyring
	dryRun  bool
	done    int // endpoints sealed anew
	current int // endpoints that need nothing
	failed  []error
}

// Run seals the secrets of every endpoint with the newest key. Each is written
// only if nobody has changed it meanwhile; deliveries go on beside it.
func (c *keysReseal) Run(w *world) error {
	ring, err := c.load()
	if err != nil {
		return err
	}
	r := &resealing{ring: ring, dryRun: c.DryRun}
	if err := everyEndpoint(w, c.connection, "sealing anew", func(e *config.Editor, ep config.Endpoint) {
		r.Editor = e
		r.reseal(w.ctx, ep)
	}); err != nil {
		return err
	}
	did := "sealed anew"
	if c.DryRun {
		did = "would be sealed anew"
	}
	w.printf("%d endpoints %s with key %s; %d needed nothing\n", r.done, did, ring.IDs()[0], r.current)
	if len(r.failed) > 0 {
		return withHint("deliveries to the others go on; mend these, or give them new secrets, and run it again",
			"%d endpoints could not be sealed anew; the first: %w", len(r.failed), r.failed[0])
	}
	return nil
}

// everyEndpoint calls do with each endpoint that is stored, valid or not.
func everyEndpoint(w *world, c connection, doing string, do func(*config.Editor, config.Endpoint)) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	kv, err := s.bucket(w.ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	editor := config.NewEditor(kv, endpoints.Lenient())
	bar := w.newProgress(doing)
	defer bar.end()
	status, err := kv.Status(w.ctx)
	if err != nil {
		return fmt.Errorf("ask for the endpoint bucket: %w", err)
	}
	seen := int64(0)
	for ep, err := range editor.List(w.ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		do(editor, ep)
		seen++
		bar.step(seen, int64(status.Values())) //nolint:gosec // a count of keys
	}
	return nil
}

// reseal takes one endpoint as it was listed, and again as often as somebody
// else was first.
func (r *resealing) reseal(ctx context.Context, ep config.Endpoint) {
	ctx, cancel := context.WithTimeout(ctx, resealTime)
	defer cancel()
	for {
		changed, err := r.one(ctx, ep)
		switch {
		case errors.Is(err, config.ErrConflict):
			if ep, err = r.Get(ctx, ep.Survey); errors.Is(err, config.ErrNoEndpoint) {
				return // removed meanwhile
			} else if err == nil {
				continue
			}
			r.failed = append(r.failed, err)
		case err != nil:
			r.failed = append(r.failed, err)
		case changed:
			r.done++
		default:
			r.current++
		}
		return
	}
}

// one seals one revision anew. Secrets that have expired sign nothing any more,
// and go: the key they are sealed with may be gone as well.
func (r *resealing) one(ctx context.Context, ep config.Endpoint) (changed bool, err error) {
	newest := r.ring.IDs()[0]
	var secrets []config.SealedSecret
	for _, s := range ep.Secrets {
		if s.Expired(time.Now()) { // never the newest: config.Endpoint.Validate sees to it
			changed = true
			continue
		}
		again, err := r.ring.Reseal(ep.Survey, s)
		if err != nil {
			return false, fmt.Errorf("survey %s: %w", ep.Survey, err)
		}
		changed = changed || s.KeyID != newest
		secrets = append(secrets, again)
	}
	if !changed {
		return false, nil
	}
	ep.Secrets = secrets
	if !r.dryRun {
		_, err = r.Put(ctx, ep)
	}
	return true, err
}

type keysRemove struct {
	connection   `embed:""`
	keyringFlags `embed:""`
	Key          string `arg:"" name:"key" help:"Id of the key."`
	Force        bool   `name:"force" help:"Remove it although secrets are sealed with it: their events wait until they are given new ones."`
}

// Run removes a key from the ring, after a look at what is still sealed with it.
func (c *keysRemove) Run(w *world) error {
	if c.Inline != "" {
		return usage{errors.New("a ring that was given as a value cannot be changed")}
	}
	ring, err := c.load()
	if err != nil {
		return err
	}
	rest, err := ring.Remove(c.Key)
	if err != nil {
		return usage{withHint("see them with: webhooks keys list; the last key of a ring stays", "%w", err)}
	}
	if !c.Force {
		if err := c.checkUnused(w); err != nil {
			return err
		}
	}
	if err := config.ReplaceKeyring(c.path(), rest); err != nil {
		return err
	}
	w.printf("removed key %s; give %s to every replica\n", c.Key, c.path())
	return nil
}

func (c *keysRemove) checkUnused(w *world) error {
	var users []events.Survey
	if err := everyEndpoint(w, c.connection, "looking", func(_ *config.Editor, ep config.Endpoint) {
		for _, s := range ep.Secrets {
			if s.KeyID == c.Key && !s.Expired(time.Now()) {
				users = append(users, ep.Survey)
				return
			}
		}
	}); err != nil {
		return err
	}
	if len(users) > 0 {
		return withHint("run first: webhooks keys reseal", "secrets of %d endpoints are sealed with key %s, that of survey %s among them", len(users), c.Key, users[0])
	}
	return nil
}
