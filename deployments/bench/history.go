package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/popsee/webhooks/events"
)

// historyCommand shows that what is stored already costs nothing.
type historyCommand struct {
	Rounds  int    `default:"3" help:"How often each is measured; the figures are medians."`
	Events  int    `default:"100000" help:"Events that are delivered."`
	Surveys int    `default:"100" help:"Surveys, on 100 hosts; the history is theirs, too."`
	Stored  []int  `default:"10000,10000000" help:"So many small events stand in the stream before."`
	Sync    string `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Profile string `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	JSON    string `placeholder:"FILE" help:"Write the raw numbers."`
	Keep    bool   `help:"Keep the temporary folders, with every process' log."`
}

// Run measures, and fails where what is asked is not so.
func (c *historyCommand) Run(ctx context.Context) error {
	return measured(ctx, c.Profile, c.JSON, c.rounds, c.text, func(all []sized) error { return apart(all, "stored events") })
}

// rounds keeps a rig for each history: to store it takes longer than all else. Each
// round adds its own events to it.
func (c *historyCommand) rounds(ctx context.Context, bin string) (all []sized, err error) {
	var rigs []*rig
	defer func() {
		for _, g := range rigs {
			err = errors.Join(err, g.close())
		}
	}()
	for _, n := range c.Stored {
		g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, scenario{Name: "history", Surveys: c.Surveys, Backlog: true, Events: c.Events})
		if err != nil {
			return nil, err
		}
		rigs = append(rigs, g)
		if err := errors.Join(g.store(ctx, n), g.prepareService(ctx)); err != nil {
			return nil, fmt.Errorf("%d stored events: %w", n, err)
		}
	}
	for round := range c.Rounds {
		for i, g := range rigs {
			t, err := g.next(ctx, round)
			if err != nil {
				return all, fmt.Errorf("%d stored events: %w", c.Stored[i], err)
			}
			all = append(all, sized{c.Stored[i], t})
			fmt.Fprintln(os.Stderr, all[len(all)-1].brief("stored events"))
		}
	}
	return all, nil
}

// store stores a history, before there is a consumer that would deliver it.
func (g *rig) store(ctx context.Context, n int) error {
	return g.publishMany(ctx, n, func(i int) (string, []byte, error) {
		s := i % g.s.Surveys
		return events.Names{}.Subject(survey(s)), smallEvent(i, s), nil
	})
}

// next is one turn on a rig that may have had others: with a new receiver, which
// has counted nothing.
func (g *rig) next(ctx context.Context, round int) (t turn, err error) {
	if round > 0 {
		if err := g.receiver.Stop(); err != nil {
			return t, err
		}
		if err := g.startReceiver(ctx); err != nil {
			return t, err
		}
		if err := g.putEndpoints(ctx); err != nil {
			return t, err
		}
	}
	if t, err = g.deliver(ctx); err != nil {
		return t, err
	}
	return t, errors.Join(g.settled(ctx), g.consumer.Stop())
}

func (c *historyCommand) text(all []sized) string {
	return fmt.Sprintf("%s %d events of about 1 KB over %d surveys, behind stored ones of about 120 bytes; medians of %d rounds.\n\n%s",
		machine(c.Sync), c.Events, c.Surveys, c.Rounds, sizedTable(all, "stored events"))
}
