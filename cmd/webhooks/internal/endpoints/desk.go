// Package endpoints is what can be done with a survey's endpoint: looked at, tried,
// switched on and off. The command line and the admin API both stand on it, so
// that they cannot come to different ends.
package endpoints

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Desk works on one survey's endpoint. It holds nothing that needs closing.
type Desk struct {
	js     jetstream.JetStream
	names  events.Names
	survey events.Survey
	editor *config.Editor
}

// Open returns the desk of a survey. Endpoints that break the rules are not
// written. The error wraps [jetstream.ErrBucketNotFound] where nothing is
// provisioned yet.
func Open(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey, rules delivery.Rules) (*Desk, error) {
	kv, err := walk.Bucket(ctx, js, names.Endpoints())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", names.Endpoints(), err)
	}
	return &Desk{js: js, names: names, survey: survey, editor: config.NewEditor(kv, rules)}, nil
}

// Lenient are the rules for looking at endpoints: one made for development or for
// a private network is shown as it is rather than called invalid.
func Lenient() delivery.Rules {
	return delivery.Rules{AllowInsecure: true, Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
}

// Get is [config.Editor.Get] of the survey.
func (d *Desk) Get(ctx context.Context) (config.Endpoint, error) {
	return d.editor.Get(ctx, d.survey)
}

// Put is [config.Editor.Put].
func (d *Desk) Put(ctx context.Context, ep config.Endpoint) (config.Endpoint, error) {
	return d.editor.Put(ctx, ep)
}

// Remove is [config.Editor.Remove] of the survey.
func (d *Desk) Remove(ctx context.Context, revision uint64) error {
	return d.editor.Remove(ctx, d.survey, revision)
}

// Look gives the endpoint as it is shown, with what is known of its health. One
// that cannot be used as it is says why in Invalid. The error may be a
// [config.ErrNoEndpoint].
func (d *Desk) Look(ctx context.Context) (View, error) {
	ep, err := d.Get(ctx)
	if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
		return View{}, err
	}
	v := ViewOf(ep)
	if err != nil {
		v.Invalid = err.Error()
	}
	r, known, err := health.Look(ctx, d.js, d.names, d.survey)
	if err != nil {
		return View{}, err
	}
	if known {
		v.Health = &r
	}
	return v, nil
}
