package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/deployments/internal/process"
	"github.com/popsee/webhooks/events"
)

// names are what everything on the bus is called.
var names = events.Names{}

// deployment is one that is broken: NATS, the replicas, whoever publishes and
// whoever receives.
type deployment struct {
	dir      string
	ledger   *ledger
	receiver *receiver
	cluster  *cluster // nil with the embedded server
	replicas []*replica
	small    *disk // of the last node, or of the embedded server; nil: none can be made,
	noDisk   error // and why
	keys     *config.Keyring

	nc        *nats.Conn
	js        jetstream.JetStream
	publisher *publisher
	taken     []span // what faults have destroyed by design, of the event stream
	breaking  breaking
	standing  int       // events in lanes at the last check although they had been delivered
	looked    time.Time // when that was
}

// span is what a fault has destroyed: the sequences from first to last, of all
// events, or of those alone that were owed.
type span struct {
	first, last uint64
	owed        bool
}

// holds says whether an event is among them. Owed is only what goes to endpoints
// that are disabled.
func (s span) holds(e event) bool {
	return e.seq >= s.first && e.seq <= s.last && (!s.owed || kindOf(e.survey) == leaving)
}

// tools are the programs that are broken, and the folder for everything.
type tools struct {
	bin, dir string
	store    int64 // bytes that each node of a cluster may store
	receiver *receiver
}

func (t tools) program(name string) string { return filepath.Join(t.bin, name) }

// openClustered starts three nodes and three replicas.
func openClustered(ctx context.Context, t tools, l *ledger) (*deployment, error) {
	d, err := newDeployment(t, l)
	if err != nil {
		return d, err
	}
	d.small, d.noDisk = newDisk(d.path("disk"), t.store+roomBesides)
	if d.cluster, err = newCluster(ctx, d.dir, t.program("nats-server"), t.store, d.small); err != nil {
		return d, err
	}
	if err := d.connect(ctx, d.cluster.url()); err != nil {
		return d, err
	}
	if err := d.provision(ctx, t.program("webhooks")); err != nil {
		return d, err
	}
	if err := d.putEndpoints(ctx, 0, withOne); err != nil {
		return d, err
	}
	for i := range 3 {
		r, err := newReplica(ctx, d.cluster, fmt.Sprint("replica", i), t.program("webhooks"), d.runArgs())
		d.replicas = append(d.replicas, r)
		if err := errors.Join(err, r.start(ctx)); err != nil {
			return d, err
		}
	}
	return d, d.ready(ctx)
}

// openEmbedded starts one replica with the server in its process.
func openEmbedded(ctx context.Context, t tools, l *ledger) (*deployment, error) {
	d, err := newDeployment(t, l)
	if err != nil {
		return d, err
	}
	listen, err := freeAddress(ctx)
	if err != nil {
		return d, err
	}
	data := d.path("data")
	if d.small, d.noDisk = newDisk(d.path("disk"), t.store); d.small != nil {
		data = filepath.Join(d.small.path, "data")
	}
	r := &replica{
		name: "single", dir: d.dir, program: t.program("webhooks"), args: d.runArgs(),
		nats: []string{"--data-dir", data, "--listen", listen},
	}
	d.replicas = []*replica{r}
	if err := r.start(ctx); err != nil {
		return d, err
	}
	if err := d.ready(ctx); err != nil {
		return d, err
	}
	if err := d.connect(ctx, "nats://"+listen); err != nil {
		return d, err
	}
	return d, d.putEndpoints(ctx, 0, withOne)
}

func newDeployment(t tools, l *ledger) (*deployment, error) {
	d := &deployment{dir: filepath.Join(t.dir, l.name), ledger: l, receiver: t.receiver}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return d, err
	}
	key, err := config.GenerateKey()
	if err != nil {
		return d, err
	}
	if d.keys, err = config.NewKeyring(key); err != nil {
		return d, err
	}
	return d, errors.Join(config.CreateKeyring(d.path("keyring.json"), d.keys), t.receiver.writeCA(d.path("ca.pem")))
}

func (d *deployment) path(name string) string { return filepath.Join(d.dir, name) }

// runArgs are how every replica is started. The receiver is on this machine, which
// no webhook may reach otherwise; it speaks TLS all the same.
func (d *deployment) runArgs() []string {
	return []string{
		"--allow-insecure-endpoints", "--ca-bundle", d.path("ca.pem"), "--keyring", d.path("keyring.json"),
		"--ack-wait", ackWait.String(), "--log-format", "json",
	}
}

// connect waits for a server that has JetStream, and for a leader of it.
func (d *deployment) connect(ctx context.Context, url string) error {
	return process.Until(ctx, time.Minute, func() (err error) {
		if d.nc == nil {
			if d.nc, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(2*time.Second),
				nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1)); err != nil {
				return err
			}
			if d.js, err = jetstream.New(d.nc); err != nil {
				return err
			}
		}
		asking, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = d.js.AccountInfo(asking)
		return err
	})
}

// provision makes what the service needs, with the command that people use.
func (d *deployment) provision(ctx context.Context, program string) error {
	return process.Until(ctx, time.Minute, func() error {
		p, err := process.Start(d.dir, "provision", program, nil, "provision", "--nats-url", d.cluster.url(), "--replicas", "3", "--ack-wait", ackWait.String())
		if err != nil {
			return err
		}
		for {
			if _, err := p.Line(ctx); err != nil {
				break // it has ended
			}
		}
		<-p.Done()
		if err := p.Err(); err != nil {
			return fmt.Errorf("webhooks provision: %w: %s", err, p.LastWords())
		}
		return nil
	})
}

// sharedSecret signs every webhook.
const sharedSecret = "faults"

// putEndpoints gives surveys their endpoints, or new revisions of them.
func (d *deployment) putEndpoints(ctx context.Context, from, to int) error {
	kv, err := d.js.KeyValue(ctx, names.Endpoints())
	if err != nil {
		return err
	}
	secret, err := delivery.NewSecret(sharedSecret)
	if err != nil {
		return err
	}
	editor := config.NewEditor(kv, delivery.Rules{AllowInsecure: true})
	errs := make([]error, to-from)
	var all sync.WaitGroup
	for i := from; i < to; i++ {
		all.Go(func() { errs[i-from] = d.putEndpoint(ctx, editor, i, secret) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// putEndpoint writes over whatever revision there is.
func (d *deployment) putEndpoint(ctx context.Context, editor *config.Editor, i int, secret delivery.Secret) error {
	sealed, err := d.keys.Seal(surveyID(i), secret)
	if err != nil {
		return err
	}
	have, err := editor.Get(ctx, surveyID(i))
	if err != nil && !errors.Is(err, config.ErrNoEndpoint) {
		return err
	}
	_, err = editor.Put(ctx, config.Endpoint{
		Survey: surveyID(i), URL: d.receiver.url(d.ledger, i), Enabled: true, Secrets: []config.SealedSecret{sealed}, Revision: have.Revision,
	})
	return err
}

// ready waits until every replica delivers.
func (d *deployment) ready(ctx context.Context) error {
	for _, r := range d.replicas {
		if err := r.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything at once.
func (d *deployment) close() {
	if d.publisher != nil {
		d.publisher.end()
	}
	if d.nc != nil {
		d.nc.Close()
	}
	for _, r := range d.replicas {
		r.close()
	}
	if d.cluster != nil {
		d.cluster.close()
	}
	d.small.close()
}
