package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/deployments/internal/process"
	"github.com/popsee/webhooks/events"
)

// Where NATS is.
const (
	natsBeside   = "beside"
	natsEmbedded = "embedded"
)

// loads starts the service with many endpoints: first with NATS in a process of
// its own, and then, on the same store, with NATS inside.
func (c *startupCommand) loads(ctx context.Context, bin string) (all []load, err error) {
	g, err := openRig(ctx, setup{bin, "2m", c.Keep}, scenario{Name: "startup", Surveys: 1, Backlog: true, Events: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return nil, err
	}
	if err := g.fillBucket(ctx, c.Endpoints); err != nil {
		return nil, err
	}
	beside, err := g.load(ctx, c.Endpoints, natsBeside, startTimed, "--nats-url", g.url)
	if err != nil {
		return nil, err
	}
	if err := g.moveInside(); err != nil {
		return nil, err
	}
	embedded, err := g.load(ctx, c.Endpoints, natsEmbedded, startEmbedded)
	return []load{beside, embedded}, err
}

// fillBucket writes endpoints as the command line does, but for the sealed text,
// which is random here: it is as long, as hard to shrink, and takes no time to seal.
func (g *rig) fillBucket(ctx context.Context, n int) error {
	js, err := jetstream.New(g.nc, jetstream.WithPublishAsyncMaxPending(pending))
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, layout.Layout{}.Names.Endpoints())
	if err != nil {
		return err
	}
	like, err := g.oneEndpoint(ctx, kv)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it stands for a secret and is none
	for i := range n {
		id := manyID(random)
		b, err := manyEndpoint(random, like, id, i).Encode()
		if err != nil {
			return err
		}
		if _, err := js.PublishAsync("$KV."+kv.Bucket()+"."+string(id), b); err != nil {
			return fmt.Errorf("write endpoint %d: %w", i, err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
	}
	status, err := kv.Status(ctx)
	if err == nil && status.Values() != uint64(n)+1 { //nolint:gosec // never negative
		err = fmt.Errorf("the bucket has %d endpoints, want %d", status.Values(), n+1)
	}
	return err
}

// oneEndpoint is the one that the rig has made.
func (g *rig) oneEndpoint(ctx context.Context, kv jetstream.KeyValue) (config.Endpoint, error) {
	entry, err := kv.Get(ctx, string(survey(0)))
	if err != nil {
		return config.Endpoint{}, err
	}
	return config.ParseEndpoint(survey(0), entry.Value(), delivery.Rules{AllowInsecure: true})
}

// manyID is a survey id as surveys have it.
func manyID(r *rand.Rand) events.Survey {
	a, b := r.Uint64(), r.Uint64()
	return events.Survey(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff))
}

// manyEndpoint is like another, with an address and a secret of its own.
func manyEndpoint(r *rand.Rand, like config.Endpoint, id events.Survey, i int) config.Endpoint {
	var sealed [32 + 16 + 50]byte // a key, a tag, and a whsec_ secret as the command line makes them
	for j := range sealed {
		sealed[j] = byte(r.Uint32())
	}
	like.URL = fmt.Sprintf("https://host%d.example.com/webhooks/%s", i%100_000, id)
	like.Secrets = []config.SealedSecret{{KeyID: like.Secrets[0].KeyID, Sealed: base64.StdEncoding.EncodeToString(sealed[:])}}
	return like
}

// moveInside ends NATS and puts its store where the embedded server looks for one.
func (g *rig) moveInside() error {
	g.nc.Close()
	return errors.Join(g.nats.Stop(), os.MkdirAll(g.path("data"), 0o700), os.Rename(g.path("jetstream"), g.path("data/nats")))
}

// starter starts the service and says how long that took.
type starter func(ctx context.Context, dir, bin string, more ...string) (*process.Process, time.Duration, error)

// load starts the service once. Before it counts, an event must be delivered: ready
// is then more than a word.
func (g *rig) load(ctx context.Context, n int, where string, start starter, more ...string) (l load, err error) {
	p, took, err := start(ctx, g.dir, g.bin, append(more, "--allow-insecure-endpoints", "--keyring", g.path("keyring.json"))...)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	ready, err := p.Usage()
	if err != nil {
		return l, err
	}
	if where == natsBeside {
		g.consumer = p
		if _, err := g.publish(ctx, func() error { return nil }); err != nil {
			return l, err
		}
		if err := g.arrived(ctx, 1); err != nil {
			return l, err
		}
	}
	if err := process.Sleep(ctx, 3*time.Second); err != nil {
		return l, err
	}
	later, err := p.Usage()
	const mib = 1 << 20
	return load{
		NATS: where, Endpoints: n, Ready: took.Seconds(), CPU: ready.CPU.Seconds(), RSS: float64(ready.RSS) / mib, Most: float64(later.HWM) / mib,
	}, err
}
