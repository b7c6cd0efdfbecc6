package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/popsee/webhooks/deployments/profile"
)

// commands is the whole command line. The last four are what the runner starts.
type commands struct {
	Isolation isolationCommand `cmd:"" help:"What failing endpoints cost the healthy ones."`
	Path      pathCommand      `cmd:"" help:"How fast events are delivered, beside the least that delivers at all and beside Watermill."`
	Memory    memoryCommand    `cmd:"" help:"What a million waiting events cost, and how soon a restart goes on with them."`
	Hosts     hostsCommand     `cmd:"" help:"How fast very many hosts get one event each in turn, and what that costs."`
	Startup   startupCommand   `cmd:"" help:"How soon the service is ready, with nothing and with a million endpoints."`
	Replay    replayCommand    `cmd:"" help:"How fast stored events are replayed, and what that costs live ones."`
	Parking   parkingCommand   `cmd:"" help:"How fast events are parked when every endpoint fails, and delivered when they recover."`
	Endpoints endpointsCommand `cmd:"" help:"How fast events are delivered with one endpoint configured, and with a million."`
	History   historyCommand   `cmd:"" help:"How fast events are delivered behind ten thousand stored ones, and behind ten million."`
	Replicas  replicasCommand  `cmd:"" help:"How events a second grow with the replicas, where each may have so many attempts under way."`
	Stream    streamCommand    `cmd:"" help:"How many events a second one stream takes, with one copy and with three, and gives meanwhile."`

	Publisher publisherCommand `cmd:"" hidden:""`
	Receiver  receiverCommand  `cmd:"" hidden:""`
	Plain     plainCommand     `cmd:"" hidden:""`
	Loop      loopCommand      `cmd:"" hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&commands{}, kong.Name("bench"), kong.Description("Measures the service on this machine; see deployments/benchmarks.md."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := parsed.Run()
	profile.End()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
