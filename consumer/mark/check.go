package mark

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/layout"
)

// Check compares the mark with the bus and changes nothing: it returns the
// alarm a replica would raise, or nil.
func Check(ctx context.Context, js jetstream.JetStream, l layout.Layout) (*Alarm, error) {
	k := New(js, l, zerolog.Nop())
	kv, err := js.KeyValue(ctx, l.Names.State())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", l.Names.State(), err)
	}
	m, _, err := readMark(ctx, kv)
	if err != nil || m == nil {
		return nil, err
	}
	stream, info, err := k.see(ctx)
	if err != nil {
		return nil, err
	}
	s := sightOf(stream, info)
	return alarmFor(judge(m, s), *m, s), nil
}
