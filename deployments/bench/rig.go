package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// sharedSecret signs every webhook.
const sharedSecret = "benchmark"

// eventStream is where events are published.
var eventStream = layout.Layout{}.Names.Stream()

// setup is what all rigs of a command have in common.
type setup struct {
	bin  string // where the programs are
	sync string // sync_interval of NATS
	keep bool   // the folders, for who wants to read the logs
}

// rig is one deployment in a temporary folder: its own NATS, its own receiver and
// one consumer, so that no run inherits anything of the one before.
type rig struct {
	setup
	s   scenario
	dir string

	url      string // of NATS
	nats     *process.Process
	receiver *process.Process
	consumer *process.Process // the service or the plain one
	replicas []replica        // of the service, where it is several processes; consumer is none then
	at       addresses
	admin    string          // host:port, of the service
	keys     *config.Keyring // of the service
	nc       *nats.Conn
	js       jetstream.JetStream
}

// openRig starts NATS and the receiver. The rig is to be closed.
func openRig(ctx context.Context, o setup, s scenario) (*rig, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	g := &rig{setup: o, s: s, dir: dir}
	for _, step := range []func(context.Context) error{g.startNATS, g.startReceiver, g.makeStream} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.Name, err), g.close())
		}
	}
	return g, nil
}

// close ends what was started, the last first, and removes the folder.
func (g *rig) close() error {
	var errs []error
	if g.nc != nil {
		g.nc.Close()
	}
	for _, r := range g.replicas {
		errs = append(errs, r.Stop())
	}
	for _, p := range []*process.Process{g.consumer, g.receiver, g.nats} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if g.keep {
		fmt.Fprintln(os.Stderr, "kept:", g.dir)
	} else {
		errs = append(errs, os.RemoveAll(g.dir))
	}
	return errors.Join(errs...)
}

func (g *rig) path(name string) string { return filepath.Join(g.dir, name) }

func (g *rig) program(name string) string { return filepath.Join(g.bin, name) }

func (g *rig) startNATS(ctx context.Context) error {
	port, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	g.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	conf := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_payload: 8MB\njetstream { store_dir: %q, max_file_store: 20GB, sync_interval: %s }\n",
		port, g.path("jetstream"), g.sync)
	if err := os.WriteFile(g.path("nats.conf"), []byte(conf), 0o600); err != nil {
		return err
	}
	if g.nats, err = process.Start(g.dir, "nats-server", g.program("nats-server"), nil, "-c", g.path("nats.conf")); err != nil {
		return err
	}
	err = process.Until(ctx, 10*time.Second, func() (err error) {
		g.nc, err = nats.Connect(g.url)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, g.nats.LastWords())
	}
	g.js, err = jetstream.New(g.nc)
	return err
}

func (g *rig) startReceiver(ctx context.Context) (err error) {
	if err := g.s.write(g.path("scenario.json")); err != nil {
		return err
	}
	args := []string{"receiver", "--scenario", g.path("scenario.json")}
	if g.s.encrypted() {
		if err := g.certify(); err != nil {
			return err
		}
		args = append(args, "--certificate", g.path(receiverFile))
	}
	if g.receiver, err = process.Start(g.dir, "receiver", g.program("bench"), nil, args...); err != nil {
		return err
	}
	line, err := g.receiver.Line(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.path("addresses.json"), []byte(line), 0o600); err != nil {
		return err
	}
	return json.Unmarshal([]byte(line), &g.at)
}

// makeStream makes the event stream as a platform would that owns it: as ours,
// and open to atomic batches, without which nobody publishes 5,000 events a
// second while every write is synced.
func (g *rig) makeStream(ctx context.Context) error {
	cfg := layout.Layout{}.Events()
	cfg.AllowAtomicPublish = true
	_, err := g.js.CreateStream(ctx, cfg)
	return err
}

// startPlain starts the plain consumer.
func (g *rig) startPlain(ctx context.Context) (err error) {
	if _, err := g.js.CreateOrUpdateConsumer(ctx, eventStream, plainConfig()); err != nil {
		return err
	}
	g.consumer, err = process.Start(g.dir, "plain", g.program("bench"), nil, "plain", "--nats", g.url,
		"--scenario", g.path("scenario.json"), "--addresses", g.path("addresses.json"))
	return err
}

// prepareService makes what the service needs on NATS, its live consumer
// included, and gives every survey its endpoint.
func (g *rig) prepareService(ctx context.Context) error {
	if _, err := provision.Run(ctx, g.js, layout.Layout{}, provision.Ensure, zerolog.Nop()); err != nil {
		return err
	}
	key, err := config.GenerateKey()
	if err != nil {
		return err
	}
	keys, err := config.NewKeyring(key)
	if err != nil {
		return err
	}
	if err := config.CreateKeyring(g.path("keyring.json"), keys); err != nil {
		return err
	}
	g.keys = keys
	return g.putEndpoints(ctx)
}

// writers is how many write endpoints at once.
const writers = 32

// putEndpoints gives every survey its endpoint, whether it has one or not.
func (g *rig) putEndpoints(ctx context.Context) error {
	kv, err := g.js.KeyValue(ctx, layout.Layout{}.Names.Endpoints())
	if err != nil {
		return err
	}
	editor := config.NewEditor(kv, delivery.Rules{AllowInsecure: true})
	return inParallel(writers, g.s.Surveys, func(i int) error {
		e, err := g.endpoint(i)
		if err != nil {
			return err
		}
		before, err := editor.Get(ctx, e.Survey)
		if err != nil && !errors.Is(err, config.ErrNoEndpoint) {
			return err
		}
		e.Revision = before.Revision
		_, err = editor.Put(ctx, e)
		return err
	})
}

// endpoint is a survey's endpoint.
func (g *rig) endpoint(i int) (config.Endpoint, error) {
	secret, err := delivery.NewSecret(sharedSecret)
	if err != nil {
		return config.Endpoint{}, err
	}
	sealed, err := g.keys.Seal(survey(i), secret)
	return config.Endpoint{Survey: survey(i), URL: g.s.url(g.at.Hosts, i), Enabled: true, Secrets: []config.SealedSecret{sealed}}, err
}

// url is where a survey's events go.
func (s scenario) url(hosts []string, i int) string {
	scheme := "http://"
	if s.encrypted() {
		scheme = "https://"
	}
	return scheme + hosts[s.host(i)] + "/" + string(survey(i))
}

// inParallel does n things, some at a time, and returns the first error of each
// goroutine.
func inParallel(width, n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, width)
	for w := range width {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += width {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// startService starts the service as people run it, with further flags, and waits
// until it is ready.
func (g *rig) startService(ctx context.Context, more ...string) error {
	r, err := g.startReplica(ctx, "webhooks", more...)
	g.consumer, g.admin = r.Process, r.admin
	return err
}

// replica is one process of the service.
type replica struct {
	*process.Process
	admin string // host:port
}

// startReplica starts one process of the service under a name of its own, and waits
// until it is ready. The process is there even with an error, unless it could not be
// started at all.
func (g *rig) startReplica(ctx context.Context, name string, more ...string) (r replica, err error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return r, err
	}
	r.admin = fmt.Sprintf("127.0.0.1:%d", port)
	if g.s.encrypted() {
		more = append(more, "--ca-bundle", g.path(caFile))
	}
	if r.Process, err = process.Start(g.dir, name, g.program("webhooks"), nil, append([]string{
		"run", "--nats-url", g.url,
		"--allow-insecure-endpoints", "--keyring", g.path("keyring.json"), "--admin-listen", r.admin,
	}, more...)...); err != nil {
		return r, err
	}
	err = process.Until(ctx, time.Minute, func() error {
		_, err := process.Get(ctx, "http://"+r.admin+"/readyz")
		return err
	})
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, r.LastWords())
	}
	return r, nil
}

// publish runs the publisher; warm is called when the warm-up is over.
func (g *rig) publish(ctx context.Context, warm func() error) (report publication, err error) {
	args := []string{"publisher", "--nats", g.url, "--scenario", g.path("scenario.json")}
	if g.sync == always {
		args = append(args, "--batch")
	}
	p, err := process.Start(g.dir, "publisher", g.program("bench"), nil, args...)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	line, err := p.Line(ctx)
	if err == nil && line != measuring {
		err = fmt.Errorf("the publisher says %q", line)
	}
	if err != nil {
		return report, err
	}
	if err := warm(); err != nil {
		return report, err
	}
	if line, err = p.Line(ctx); err != nil {
		return report, err
	}
	return report, json.Unmarshal([]byte(line), &report)
}

// arrivals asks the receiver what has arrived.
func (g *rig) arrivals(ctx context.Context) (t tally, err error) {
	b, err := process.Get(ctx, "http://"+g.at.Control+"/arrivals")
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(b, &t)
}

// count asks for as much of it as costs nothing.
func (g *rig) count(ctx context.Context) (c count, err error) {
	b, err := process.Get(ctx, "http://"+g.at.Control+"/count")
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(b, &c)
}

// mend makes a survey's endpoint work from now on.
func (g *rig) mend(ctx context.Context, i int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.at.Control+"/mend/"+string(survey(i)), nil)
	if err != nil {
		return err
	}
	_, err = process.Answer(req)
	return err
}
