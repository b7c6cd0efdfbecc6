package main

import (
	"context"
	"errors"
	"time"

	"github.com/popsee/webhooks/config"
)

type endpointRotateSecret struct {
	endpointTarget `embed:""`
	keyringFlags   `embed:""`
	secretFlags    `embed:""`
	Overlap        time.Duration `name:"overlap" default:"24h" placeholder:"DURATION" help:"How long the secrets there are now go on signing webhook-signature (default: ${default}); 0 ends them at once."`
}

// Run gives the endpoint a new secret. X-Popsee-Signature is the new secret's
// from then on; webhook-signature holds one signature of every live secret.
func (c *endpointRotateSecret) Run(w *world) error {
	if c.Overlap < 0 {
		return usage{errors.New("--overlap: want a duration of 0 or more")}
	}
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error { return c.rotate(ctx, w, e, ep) })
}

func (c *endpointRotateSecret) rotate(ctx context.Context, w *world, e *editing, ep config.Endpoint) error {
	sealed, err := c.seal(w, c.keyringFlags, ep.Survey)
	if err != nil {
		return err
	}
	if sealed == nil {
		return usage{withHint("give it with --secret-file FILE, or - for the standard input, or have one made with --generate-secret", "a new secret is needed")}
	}
	ep.Secrets = append([]config.SealedSecret{*sealed}, overlapping(ep.Secrets, c.Overlap, time.Now())...)
	if ep, err = e.Put(ctx, ep); err != nil {
		return conflict(err)
	}
	w.printf("%s signs with the new secret (revision %d)", ep.Survey, ep.Revision)
	if len(ep.Secrets) > 1 {
		w.printf("; %d earlier ones sign webhook-signature until %s", len(ep.Secrets)-1, ep.Secrets[1].ExpiresAt.UTC().Format(time.RFC3339))
	}
	w.printf("\n")
	return nil
}

// overlapping are the secrets that stay, each until its own end or that of the
// overlap, whichever is first. The newest of them come first; there is room for
// one less than an endpoint may have.
func overlapping(secrets []config.SealedSecret, overlap time.Duration, now time.Time) []config.SealedSecret {
	var stay []config.SealedSecret
	end := now.Add(overlap).UTC().Truncate(time.Second)
	for _, s := range secrets {
		if overlap == 0 || s.Expired(now) || len(stay) == config.MaxSecrets-1 {
			continue
		}
		if s.ExpiresAt == nil || s.ExpiresAt.After(end) {
			s.ExpiresAt = &end
		}
		stay = append(stay, s)
	}
	return stay
}
