// Package provision creates what the service needs on the bus and verifies what
// exists. What exists is never changed by a starting replica: that is an explicit
// step, shown first by a dry run.
package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
)

// Mode is how far [Run] may go.
type Mode uint8

// The modes of [Run].
const (
	Ensure Mode = iota // create what is missing, change nothing that exists; what a starting replica does
	Update             // also change what exists, where NATS can
	DryRun             // touch nothing, report what Update would do
)

// Verdict is what was found about one stream, bucket or consumer.
type Verdict string

// The verdicts of a [Finding].
const (
	Same    Verdict = "same"    // as wanted
	Created Verdict = "created" // was missing (in a dry run: would be created)
	Changed Verdict = "changed" // was otherwise (in a dry run: would be changed)
	Differs Verdict = "differs" // is otherwise, and stays so
)

// Finding is one line of a [Report].
type Finding struct {
	Kind        string       `json:"kind"` // stream, bucket or consumer
	Name        string       `json:"name"`
	Verdict     Verdict      `json:"verdict"`
	Differences []Difference `json:"differences,omitempty"`
}

// Report is what [Run] found and did, in the order it went.
type Report []Finding

// Unfit is the error of a [Report] holding settings the service cannot run
// with.
type Unfit struct{ Findings []Finding }

// Error lists every difference, one a line.
func (u *Unfit) Error() string {
	var b strings.Builder
	b.WriteString("what exists on NATS is set up otherwise than this service needs:")
	for _, f := range u.Findings {
		for _, d := range f.Differences {
			if d.Ours {
				fmt.Fprintf(&b, "\n  %s %s: %s", f.Kind, f.Name, d)
				if d.Fixed {
					b.WriteString(" (cannot be changed on what exists)")
				}
			}
		}
	}
	return b.String()
}

// Hint says what to do about it.
func (u *Unfit) Hint() string {
	for _, f := range u.Findings {
		for _, d := range f.Differences {
			if d.Ours && d.Fixed {
				return "settings that cannot be changed need another name: set a prefix (WEBHOOKS_PREFIX), or remove what exists if nothing needs it"
			}
		}
	}
	return "webhooks provision changes what may be changed; see it first with webhooks provision --dry-run"
}

// Err returns an [Unfit] when something differs that the service needs, and
// nil otherwise.
func (r Report) Err() error {
	var bad []Finding
	for _, f := range r {
		if f.Verdict == Differs && len(differences(f.Differences).hard()) > 0 {
			bad = append(bad, f)
		}
	}
	if bad == nil {
		return nil
	}
	return &Unfit{bad}
}

// Run creates what is missing on the bus and verifies what exists. It returns
// what it found even with an error; the error is an [*Unfit] where something of
// the same name is set up otherwise, and a [*mark.Alarm] where the live consumer
// must not go on.
func Run(ctx context.Context, js jetstream.JetStream, l layout.Layout, mode Mode, log zerolog.Logger) (Report, error) {
	p := provisioner{js: js, layout: l, mode: mode, log: log}
	if err := p.events(ctx); err != nil {
		return p.report, err
	}
	if err := p.report.Err(); err != nil {
		return p.report, err // nothing else can stand on such a stream
	}
	for _, s := range l.Own() {
		if err := p.stream(ctx, s); err != nil {
			return p.report, err
		}
	}
	for _, b := range l.Buckets() {
		if err := p.bucket(ctx, b); err != nil {
			return p.report, err
		}
	}
	if err := p.consumer(ctx); err != nil {
		return p.report, err
	}
	return p.report, p.report.Err()
}

type provisioner struct {
	js     jetstream.JetStream
	layout layout.Layout
	mode   Mode
	log    zerolog.Logger
	report Report
}

// events sees to the event stream. Its owner may be the platform, so an existing
// one is never changed, whatever the mode.
func (p *provisioner) events(ctx context.Context) error {
	want := p.layout.Events()
	have, err := p.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return p.create("stream", want.Name, func() error {
			_, err := p.js.CreateStream(ctx, want)
			return created("stream "+want.Name, err)
		})
	case err != nil:
		return fmt.Errorf("look at stream %s: %w", want.Name, err)
	}
	if want.MaxBytes < 0 {
		want.MaxBytes = have.CachedInfo().Config.MaxBytes
	}
	ds := diffEvents(have.CachedInfo().Config, want)
	p.found("stream", want.Name, ds, len(ds) > 0)
	return nil
}

// stream sees to a stream that is ours alone.
func (p *provisioner) stream(ctx context.Context, want jetstream.StreamConfig) error {
	have, err := p.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return p.create("stream", want.Name, func() error {
			_, err := p.js.CreateStream(ctx, want)
			return created("stream "+want.Name, err)
		})
	case err != nil:
		return fmt.Errorf("look at stream %s: %w", want.Name, err)
	}
	if want.MaxBytes < 0 { // the store's size is not known from here: whoever set a bound knew it
		want.MaxBytes = have.CachedInfo().Config.MaxBytes
	}
	want.Metadata = have.CachedInfo().Config.Metadata // says of a restored stream which one it goes on
	ds := diffOwn(have.CachedInfo().Config, want)
	return p.settle("stream", want.Name, ds, func() error {
		_, err := p.js.UpdateStream(ctx, want)
		return err
	})
}

func (p *provisioner) bucket(ctx context.Context, want jetstream.KeyValueConfig) error {
	have, err := p.js.Stream(ctx, "KV_"+want.Bucket)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return p.create("bucket", want.Bucket, func() error {
			_, err := p.js.CreateKeyValue(ctx, want)
			return created("bucket "+want.Bucket, err)
		})
	case err != nil:
		return fmt.Errorf("look at bucket %s: %w", want.Bucket, err)
	}
	ds := diffBucket(have.CachedInfo().Config, want)
	return p.settle("bucket", want.Bucket, ds, func() error {
		_, err := p.js.UpdateKeyValue(ctx, want)
		return err
	})
}

// consumer binds first: creating over what exists could destroy its state.
func (p *provisioner) consumer(ctx context.Context) error {
	name := p.layout.Names.Consumer()
	stream, err := p.js.Stream(ctx, p.layout.Names.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) { // a dry run on an empty server
		return p.create("consumer", name, nil)
	}
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", p.layout.Names.Stream(), err)
	}
	have, err := stream.Consumer(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return p.create("consumer", name, func() error { return p.lookOnce(ctx) })
	case err != nil:
		return fmt.Errorf("look at consumer %s: %w", name, err)
	}
	cfg := have.CachedInfo().Config
	want := p.layout.Consumer(cfg.OptStartSeq, layout.Filters(stream.CachedInfo().Config, p.layout.Names.Subjects()))
	want.DeliverPolicy, want.OptStartSeq, want.OptStartTime = cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime
	return p.settle("consumer", name, diffConsumer(cfg, want), func() error {
		_, err := p.js.UpdateConsumer(ctx, p.layout.Names.Stream(), want)
		return err
	})
}

// lookOnce lets the mark decide where the consumer starts.
func (p *provisioner) lookOnce(ctx context.Context) error {
	k := mark.New(p.js, p.layout, p.log)
	_, _, err := k.Look(ctx)
	if errors.Is(err, mark.ErrBusy) {
		_, _, err = k.Look(ctx)
	}
	return err
}

// create runs do unless this is a dry run, and notes what was created, or would be.
func (p *provisioner) create(kind, name string, do func() error) error {
	if p.mode != DryRun {
		if err := do(); err != nil {
			return err
		}
	}
	p.report = append(p.report, Finding{Kind: kind, Name: name, Verdict: Created})
	return nil
}

// settle changes what differs where the mode and NATS allow it.
func (p *provisioner) settle(kind, name string, ds differences, change func() error) error {
	fixed := false
	for _, d := range ds {
		fixed = fixed || d.Fixed
	}
	if len(ds) == 0 || fixed || p.mode == Ensure {
		p.found(kind, name, ds, len(ds) > 0)
		return nil
	}
	p.report = append(p.report, Finding{Kind: kind, Name: name, Verdict: Changed, Differences: ds})
	if p.mode == DryRun {
		return nil
	}
	if err := change(); err != nil {
		return fmt.Errorf("change %s %s: %w", kind, name, err)
	}
	return nil
}

func (p *provisioner) found(kind, name string, ds differences, differs bool) {
	v := Same
	if differs {
		v = Differs
	}
	p.report = append(p.report, Finding{Kind: kind, Name: name, Verdict: v, Differences: ds})
}

// created wraps the error of a creation, and drops the one of losing a race
// against another replica that provisions in the same moment.
func created(what string, err error) error {
	if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, jetstream.ErrBucketExists) {
		return nil
	}
	return fmt.Errorf("create %s: %w", what, err)
}
