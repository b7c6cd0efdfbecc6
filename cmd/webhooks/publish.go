package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/events"
)

type publishCommand struct {
	connection    `embed:""`
	EventMaxBytes config.Bytes `name:"event-max-bytes" env:"WEBHOOKS_EVENT_MAX_BYTES" default:"1MiB" placeholder:"SIZE" help:"Largest event (default: ${default})."`
	JSON          bool         `name:"json" help:"Print JSON: a receipt a line, and the summary."`
	File          string       `arg:"" optional:"" default:"-" help:"File with one event, a JSON array of events, or an event a line; - is the standard input."`
}

// Run publishes what it reads. Events that could not be delivered are refused
// one by one; the others are published all the same.
func (c *publishCommand) Run(w *world) error {
	in, size, err := c.openInput(w)
	if err != nil {
		return err
	}
	defer in.Close()
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()

	p := &publishing{w: w, json: c.JSON, input: newEventReader(in), started: time.Now()}
	p.watch(size)
	publisher := events.NewPublisher(s.js, events.PublisherOptions{Names: s.names, MaxBytes: int(c.EventMaxBytes)})
	sum, err := publisher.PublishAll(w.ctx, p.bodies(), p.done)
	p.bar.end()
	return p.summarize(sum, errors.Join(err, p.input.err))
}

func (c *publishCommand) openInput(w *world) (io.ReadCloser, int64, error) {
	if c.File == "-" {
		if isTerminalIn(w.in) {
			fmt.Fprintln(w.errw, "reading events from this terminal: type or paste JSON, and end with Ctrl-D")
		}
		return io.NopCloser(&interruptible{ctx: w.ctx, in: w.in}), 0, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, usage{withHint("name a file with events, or - for the standard input", "read events: %w", err)}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read events: %w", err)
	}
	return f, info.Size(), nil
}

// publishing is one run of the command.
type publishing struct {
	w       *world
	json    bool
	input   *eventReader
	started time.Time
	size    int64 // of the input; 0 when nobody knows
	bar     *progress
	lines   []int // of the events on their way, by their number; emptied as they are done
	first   int   // the number of lines[0]
	printed error
}

// bodies are the events as they are read.
func (p *publishing) bodies() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for body, line := range p.input.events() {
			p.lines = append(p.lines, line)
			if !yield(body) {
				return
			}
		}
	}
}

// done is called for each event in order.
func (p *publishing) done(i int, r events.Receipt, err error) {
	line := p.lines[i-p.first]
	p.lines, p.first = p.lines[1:], i+1
	if p.size > 0 {
		p.bar.step(p.input.offset(), p.size)
	} else {
		p.bar.step(int64(i+1), 0)
	}
	switch {
	case err != nil && p.json:
		p.printed = errors.Join(p.printed, p.w.printJSON(map[string]any{"event": i + 1, "line": line, "error": err.Error()}))
	case err != nil:
		p.bar.say("event %d (line %d): %s", i+1, line, harmless(err.Error()))
	case p.json:
		p.printed = errors.Join(p.printed, p.w.printJSON(r))
	}
}

// watch shows how far it is, unless what it prints goes to the same terminal.
func (p *publishing) watch(size int64) {
	p.size, p.bar = size, &progress{out: p.w.errw}
	if !p.json || !isTerminal(p.w.out) {
		p.bar = p.w.newProgressOf("publishing", size)
	}
}

// summarize says what was done, and fails when something was not.
func (p *publishing) summarize(sum events.Summary, err error) error {
	if p.json {
		p.printed = errors.Join(p.printed, p.w.printJSON(map[string]any{"summary": sum}))
	} else {
		p.w.printf("%d published", sum.Published)
		if sum.Duplicates > 0 {
			p.w.printf(" (%d of them were in the stream already)", sum.Duplicates)
		}
		p.w.printf(", %d refused, %d failed, in %s\n", sum.Refused, sum.Failed, time.Since(p.started).Round(time.Millisecond))
	}
	switch {
	case err != nil:
		return err
	case p.printed != nil:
		return p.printed
	case sum.Failed > 0:
		return withHint("publish the same input again: what arrived is recognised for two minutes", "%d events were not acknowledged", sum.Failed)
	case sum.Refused > 0:
		return usage{withHint("what an event must hold is in: go doc github.com/popsee/webhooks/events", "%d events are not valid and were not sent", sum.Refused)}
	case sum.Published == 0:
		return usage{withHint("give one event, a JSON array of events, or an event a line", "there was nothing to publish")}
	default:
		return nil
	}
}
