package main

import (
	"fmt"
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far a long piece of work is, on a terminal; elsewhere it
// does nothing. It is used from one goroutine at a time.
type progress struct {
	all *mpb.Progress // nil when nobody watches
	bar *mpb.Bar
	out io.Writer // where lines go that are said beside it
}

// newProgress begins a bar that counts things. How many there are is known from its
// first step on.
func (w *world) newProgress(doing string) *progress {
	return w.newBar(doing, 0, decor.CountersNoUnit("%d / %d"))
}

// newProgressOf begins a bar of so many bytes. Where nobody knows how many come, it
// counts steps, and their time.
func (w *world) newProgressOf(doing string, size int64) *progress {
	if size > 0 {
		return w.newBar(doing, size, decor.CountersKibiByte("% .1f / % .1f"))
	}
	all := w.newBars()
	if all == nil {
		return &progress{out: w.errw}
	}
	return &progress{all: all, out: all, bar: all.AddSpinner(0,
		mpb.PrependDecorators(decor.Name(doing+" "), decor.CurrentNoUnit("%d"), decor.Name(" ")),
		mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)),
		mpb.BarRemoveOnComplete())}
}

func (w *world) newBar(doing string, size int64, counters decor.Decorator) *progress {
	all := w.newBars()
	if all == nil {
		return &progress{out: w.errw}
	}
	return &progress{all: all, out: all, bar: all.AddBar(size,
		mpb.PrependDecorators(decor.Name(doing+" "), counters),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")),
		mpb.BarRemoveOnComplete())}
}

// newBars are what bars are drawn by; nil where nobody watches.
func (w *world) newBars() *mpb.Progress {
	if !w.drawn(w.errw) {
		return nil
	}
	return mpb.NewWithContext(w.ctx, mpb.WithOutput(w.errw))
}

// step says that so much of all is done.
func (p *progress) step(done, all int64) {
	if p.bar != nil {
		p.bar.SetTotal(max(all, done), false) // complete only when it is ended
		p.bar.SetCurrent(done)
	}
}

// say writes a line that stays, above the bar.
func (p *progress) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// end removes the bar, also when the work ended early.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.all.Wait()
		p.bar = nil
	}
}
