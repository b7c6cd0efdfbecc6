package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// command is the whole command line.
type command struct {
	Seed     int64         `help:"Of everything that is left to chance; 0 means another one each time. It is printed."`
	Rate     int           `default:"360" help:"Events published each second; with 300 and more, 300 a second must be acknowledged while NATS is there."`
	Kills    int           `default:"50" help:"Replicas killed in the storms."`
	Rounds   int           `default:"1" help:"How often every fault comes."`
	Only     []string      `help:"Only the faults whose names hold one of these."`
	Limit    time.Duration `default:"12m" help:"When it stops, whatever has happened; the time that building takes does not count."`
	Keep     bool          `help:"Keep the folders, to read the logs."`
	Markdown string        `type:"path" placeholder:"FILE" help:"Also write the table there."`

	MaySkipDisk bool `env:"FAULTS_MAY_SKIP_DISK" help:"Do not fail for the faults of a full disk where none can be made, neither by mounting (as root) nor in a user namespace."`
}

func main() {
	holdDisk() // returns, but for what newDisk starts
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c command
	kong.Parse(&c, kong.Name("faults"), kong.Description("Breaks a real deployment on this machine in every way there is, and counts what was lost; see deployments/benchmarks.md."))
	if err := c.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
