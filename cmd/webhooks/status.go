package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/consumer/formats"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/replay"
)

type statusCommand struct {
	connection `embed:""`
	Admin      string        `name:"admin-listen" env:"WEBHOOKS_ADMIN_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Admin address of the replica on this machine, to ask it too (default: ${default}); empty asks none."`
	Sample     time.Duration `name:"sample" default:"1s" placeholder:"DURATION" help:"How long to watch the rate (default: ${default}); 0 means not at all."`
	JSON       bool          `name:"json" help:"Print JSON."`
}

// Run shows how things stand, and fails when a person is needed.
func (c *statusCommand) Run(w *world) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := w.asking()
	defer cancel()
	v, err := s.status(ctx)
	if err != nil {
		return err
	}
	v.Replica = c.ask(ctx)
	if v.Rate, err = s.rate(w.ctx, c.Sample); err != nil {
		return err
	}
	if c.JSON {
		err = w.printJSON(v)
	} else {
		v.print(w, time.Now())
	}
	if v.alarm != nil {
		return errors.Join(err, v.alarm)
	}
	return err
}

// statusView is how things stand.
type statusView struct {
	Server    string        `json:"server"`
	Stored    uint64        `json:"stored_events"`
	First     uint64        `json:"first_sequence"`
	Last      uint64        `json:"last_sequence"`
	Consumer  bool          `json:"consumer"` // whether the live consumer exists
	Lag       uint64        `json:"lag_events"`
	InHand    int           `json:"ack_pending_events"`
	Floor     uint64        `json:"settled_to"` // every sequence up to here is settled
	Endpoints int           `json:"endpoints"`
	Alarm     string        `json:"alarm,omitempty"`
	Replica   *replicaState `json:"replica,omitempty"` // the one on this machine, when it answers
	Rate      *rateView     `json:"rate,omitempty"`    // nil when it was not watched, or there is no live consumer
	Waiting   waitingView   `json:"waiting"`
	Unwell    unwellView    `json:"unwell_endpoints"`
	Letters   uint64        `json:"dead_letters"`
	Fleet     fleetView     `json:"fleet"`

	Replays []replay.Record `json:"replays,omitempty"`       // that run, or are paused
	Newer   []formats.Left  `json:"newer_formats,omitempty"` // what a newer version wrote and this one leaves alone

	alarm *mark.Alarm
}

// replicaState is what a replica's /readyz says.
type replicaState struct {
	Address  string   `json:"address"`
	Status   string   `json:"status"`
	Reason   string   `json:"reason,omitempty"`
	Do       string   `json:"do,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (s *session) status(ctx context.Context) (statusView, error) {
	v := statusView{Server: bus.Server(s.nc)}
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return v, withHint("start the service once, or run: webhooks provision", "look at stream %s: %w", s.names.Stream(), err)
	}
	state := stream.CachedInfo().State
	v.Stored, v.First, v.Last = state.Msgs, state.FirstSeq, state.LastSeq
	cons, err := stream.Consumer(ctx, s.names.Consumer())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
	case err != nil:
		return v, fmt.Errorf("look at consumer %s: %w", s.names.Consumer(), err)
	default:
		info := cons.CachedInfo()
		v.Consumer, v.Lag, v.InHand, v.Floor = true, info.NumPending, info.NumAckPending, info.AckFloor.Stream
	}
	v.alarm, err = mark.Check(ctx, s.js, layout.Layout{Names: s.names})
	if err != nil && !errors.As(err, new(*mark.Newer)) { // that one is counted below
		return v, err
	}
	if v.alarm != nil {
		v.Alarm = v.alarm.Error()
	}
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return v, err
	}
	if v.Endpoints, err = countKeys(ctx, kv); err != nil {
		return v, err
	}
	return v, s.around(ctx, &v)
}

// countKeys counts what is there: a bucket's own count includes earlier
// revisions and what was removed.
func countKeys(ctx context.Context, kv jetstream.KeyValue) (int, error) {
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("count the endpoints: %w", err)
	}
	n := 0
	for range keys.Keys() {
		n++
	}
	return n, nil
}

// maxHealth bounds what is read of a health answer.
const maxHealth = 64 << 10

// ask asks the replica on this machine; nil when there is none.
func (c *statusCommand) ask(ctx context.Context) *replicaState {
	if c.Admin == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Admin+"/readyz", nil)
	if err != nil {
		return nil
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	r := &replicaState{Address: c.Admin}
	if json.NewDecoder(io.LimitReader(resp.Body, maxHealth)).Decode(r) != nil || r.Status == "" {
		return nil // something else listens there
	}
	return r
}

func (v statusView) print(w *world, now time.Time) {
	w.printf("%-12s %s\n", "NATS", v.Server)
	w.printf("%-12s %d stored, sequences %d to %d\n", "events", v.Stored, v.First, v.Last)
	if v.Consumer {
		w.printf("%-12s %d not yet given to a replica, %d in hand, all settled up to sequence %d\n", "delivery", v.Lag, v.InHand, v.Floor)
	} else {
		w.printf("%-12s the live consumer does not exist; it is made when the service starts\n", "delivery")
	}
	if v.Rate != nil {
		w.printf("%-12s %s\n", "rate", v.Rate)
	}
	w.printf("%-12s %s\n", "waiting", v.Waiting.words(now))
	w.printf("%-12s %d%s\n", "endpoints", v.Endpoints, v.Unwell)
	w.printf("%-12s %d\n", "dead letters", v.Letters)
	for _, r := range v.Replays {
		done, all := r.Handled(), r.Events
		w.printf("%-12s %s: %d of %d (%s), %s since %s\n", "replays", r.ID, done, all, percentDone(r), r.State, ago(r.Since, now))
	}
	for _, line := range v.Fleet.lines(now) {
		w.printf("%-12s %s\n", line.name, line.value)
	}
	if len(v.Newer) > 0 {
		w.printf("%-12s %s; see: deployments/upgrades.md\n", "newer", leftWords(v.Newer))
	}
	if r := v.Replica; r != nil {
		w.printf("%-12s %s at %s\n", "here", r.Status, r.Address)
		for _, line := range append([]string{r.Reason, r.Do}, r.Warnings...) {
			if line != "" {
				w.printf("%-12s %s\n", "", line)
			}
		}
	}
}
