package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// endpointCommand groups what is done with endpoints.
type endpointCommand struct {
	Set     endpointSet     `cmd:"" help:"Create an endpoint, or change what is given of one."`
	Get     endpointGet     `cmd:"" help:"Show one endpoint."`
	List    endpointList    `cmd:"" help:"List endpoints."`
	Remove  endpointRemove  `cmd:"" aliases:"rm" help:"Remove an endpoint: nothing is owed to its survey afterwards."`
	Enable  endpointEnable  `cmd:"" help:"Switch an endpoint on, whoever switched it off, and send what is owed."`
	Disable endpointDisable `cmd:"" help:"Switch an endpoint off."`
	Test    endpointTest    `cmd:"" help:"Send a signed test event and show what came back."`

	RotateSecret endpointRotateSecret `cmd:"" name:"rotate-secret" help:"Give an endpoint a new secret, with an overlap."`
}

// endpointTarget is what every command on one endpoint takes.
type endpointTarget struct {
	connection `embed:""`
	Survey     string `arg:"" name:"survey" help:"Survey id."`
}

// rulesFlags are the rules an endpoint's URL is checked by; they should be the
// service's own.
type rulesFlags struct {
	AllowInsecure bool           `name:"allow-insecure-endpoints" env:"WEBHOOKS_ALLOW_INSECURE_ENDPOINTS" help:"For development only: the endpoint may use http and be on this machine."`
	Allow         []netip.Prefix `name:"allow" env:"WEBHOOKS_ALLOW" placeholder:"PREFIX,..." help:"Private networks that endpoints may be on, as the service is told."`
}

func (r rulesFlags) rules() delivery.Rules {
	return delivery.Rules{AllowInsecure: r.AllowInsecure, Allow: r.Allow}
}

// editing is an open desk for one survey.
type editing struct {
	*session
	*endpoints.Desk
	survey events.Survey
}

func (t endpointTarget) edit(ctx context.Context, w *world, rules delivery.Rules) (*editing, error) {
	survey, err := events.ParseSurvey(t.Survey)
	if err != nil {
		return nil, usage{withHint("use letters, digits, - and _ ; see what there is with: webhooks endpoint list", "survey %q is not a valid id", t.Survey)}
	}
	s, err := t.open(w)
	if err != nil {
		return nil, err
	}
	desk, err := endpoints.Open(ctx, s.js, s.names, survey, rules)
	if err != nil {
		s.close()
		return nil, err
	}
	return &editing{session: s, Desk: desk, survey: survey}, nil
}

// with opens the editor for the time of one command.
func (t endpointTarget) with(w *world, rules delivery.Rules, do func(ctx context.Context, e *editing) error) error {
	ctx, cancel := w.asking()
	defer cancel()
	e, err := t.edit(ctx, w, rules)
	if err != nil {
		return err
	}
	defer e.close()
	return do(ctx, e)
}

// withCurrent is with, for commands on an endpoint that is there and valid.
func (t endpointTarget) withCurrent(w *world, do func(ctx context.Context, e *editing, ep config.Endpoint) error) error {
	return t.with(w, endpoints.Lenient(), func(ctx context.Context, e *editing) error {
		ep, err := e.current(ctx)
		if err != nil {
			return err
		}
		return do(ctx, e, ep)
	})
}

// current reads the endpoint; one that breaks the rules can still be changed.
func (e *editing) current(ctx context.Context) (config.Endpoint, error) {
	ep, err := e.Get(ctx)
	return ep, orCreate(e.survey, err)
}

// orCreate says how an endpoint that is not there comes to be.
func orCreate(survey events.Survey, err error) error {
	if errors.Is(err, config.ErrNoEndpoint) {
		return withHint("create it with: webhooks endpoint set "+string(survey)+" --url https://…", "%w", err)
	}
	return err
}

// conflict tells a person what a lost race means.
func conflict(err error) error {
	if errors.Is(err, config.ErrConflict) {
		return withHint("look at it again with: webhooks endpoint get, then repeat the command if it still makes sense", "%w", err)
	}
	return err
}

// maxSecretFile is far above any secret, and far below what would hurt.
const maxSecretFile = 4 << 10

// readSecret reads a secret from a file or the standard input. The line end that
// editors and echo leave behind is not part of it.
func (w *world) readSecret(path string) (delivery.Secret, error) {
	secret, _, err := w.readSecretAsIs(path)
	return secret, err
}

// readSecretAsIs also says whether there was a line end that was left out.
func (w *world) readSecretAsIs(path string) (secret delivery.Secret, ended bool, err error) {
	in := w.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return secret, false, withHint("the file must exist and be readable; use - for the standard input", "read the secret: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecretFile))
	if err != nil {
		return secret, false, fmt.Errorf("read the secret: %w", err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	secret, err = delivery.NewSecret(text)
	if err != nil {
		return secret, false, usage{withHint("the file must hold the secret and nothing else", "read the secret from %s: %w", path, err)}
	}
	return secret, len(text) < len(b), nil
}

// keyringFlags say where the key ring is.
type keyringFlags struct {
	Keyring string          `name:"keyring" env:"WEBHOOKS_KEYRING" placeholder:"FILE" help:"Key ring that seals and opens secrets (default: keyring.json in the data folder)."`
	Inline  config.Password `name:"keyring-json" env:"WEBHOOKS_KEYRING_JSON" placeholder:"JSON" help:"The key ring itself; instead of a file."`
	DataDir string          `name:"data-dir" env:"WEBHOOKS_DATA_DIR" default:"./webhooks-data" placeholder:"DIR" help:"Data folder of the service on this machine (default: ${default})."`
}

// path is where the ring is.
func (k keyringFlags) path() string {
	if k.Keyring != "" {
		return k.Keyring
	}
	return filepath.Join(k.DataDir, "keyring.json")
}

// load reads the service's key ring.
func (k keyringFlags) load() (*config.Keyring, error) {
	if k.Inline != "" {
		return config.ParseKeyring([]byte(k.Inline.Reveal()))
	}
	path := k.path()
	ring, err := config.LoadKeyring(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, withHint("start the service here first (webhooks run makes one), or name the service's own with --keyring or --data-dir; for a NATS of your own make one with: webhooks keys generate --keyring FILE", "there is no key ring at %s: secrets are sealed and opened with the service's", path)
	}
	return ring, err
}
