package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/leases"
)

// Occupied says that a backup cannot be restored where something is in its place.
type Occupied struct {
	What []string
	hint string
}

// Error says what is in the way.
func (o *Occupied) Error() string {
	return "there is something already, and a backup is never restored over it: " + strings.Join(o.What, ", ")
}

// Hint says what to do.
func (o *Occupied) Hint() string { return o.hint }

// Unfit says that a backup cannot be restored on a server as it is set up.
type Unfit struct {
	what, hint string
}

// Error says why.
func (u *Unfit) Error() string { return u.what }

// Hint says what to do.
func (u *Unfit) Hint() string { return u.hint }

// fits says whether the backup can be restored here, before anything is.
func (d *restorer) fits(ctx context.Context, m Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if m.Prefix != d.o.Layout.Names.Prefix() {
		return &Unfit{fmt.Sprintf("the backup is of the deployment with prefix %q, and prefix %q was asked for", m.Prefix, d.o.Layout.Names.Prefix()), "names cannot be changed by a restore: give --prefix as it was"}
	}
	if limit := d.js.Conn().MaxPayload(); m.Largest > limit {
		return &Unfit{fmt.Sprintf("the backup has a message of %d bytes, and this NATS takes messages of %d", m.Largest, limit), fmt.Sprintf("set max_payload to %d or more in the configuration of each NATS node", m.Largest)}
	}
	if m.in(d.o.Layout.Names.Stream()) == nil {
		return damaged(d.o.Folder, errors.New("it has no event stream"))
	}
	if err := d.alone(ctx); err != nil {
		return err
	}
	return d.room(ctx, m)
}

// alone says whether no replica is at work here.
func (d *restorer) alone(ctx context.Context) error {
	p, err := leases.Look(ctx, d.js, d.o.Layout.Names)
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var at []string
	for _, r := range p.Replicas {
		at = append(at, "replica "+r.ID)
	}
	if at == nil {
		return nil
	}
	return &Occupied{What: at, hint: "stop the service first; one that has ended a moment ago is forgotten after 15 s"}
}

// room says whether nothing is in the place of what is restored: no stream of that
// name, and none that takes its subjects.
func (d *restorer) room(ctx context.Context, m Manifest) error {
	var found []string
	for _, p := range places(d.o.Layout.Names) {
		_, err := d.js.Stream(ctx, p.stream)
		if err == nil {
			found = append(found, "stream "+p.stream)
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("look at stream %s: %w", p.stream, err)
		}
	}
	if found != nil {
		return &Occupied{What: found, hint: "restore on an empty server, or into a data folder of its own (--offline --data-dir); if nothing needs what is there, remove it first"}
	}
	for _, p := range places(d.o.Layout.Names) {
		if m.in(p.stream) == nil {
			continue
		}
		cfg, meta, err := d.settings(p)
		if err != nil {
			return damaged(d.o.Folder, err)
		}
		_ = meta.Close() // only read
		for _, subject := range cfg.Subjects {
			if name, err := d.js.StreamNameBySubject(ctx, subject); err == nil {
				found = append(found, fmt.Sprintf("stream %s takes %s, as %s does", name, subject, p.stream))
			}
		}
	}
	if found != nil {
		return &Occupied{What: found, hint: "take those subjects from that stream first"}
	}
	return nil
}
