package main

import (
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far a long piece of work is, on a terminal; elsewhere it
// does nothing. It is used from one goroutine at a time.
type progress struct {
	all *mpb.Progress // nil when nobody watches
	bar *mpb.Bar
}

// newProgress begins a bar. What it counts is known from its first step on.
func (w *world) newProgress(doing string) *progress {
	if !isTerminal(w.errw) {
		return &progress{}
	}
	all := mpb.NewWithContext(w.ctx, mpb.WithOutput(w.errw))
	return &progress{all: all, bar: all.AddBar(0,
		mpb.PrependDecorators(decor.Name(doing+" "), decor.CountersNoUnit("%d / %d")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)),
		mpb.BarRemoveOnComplete())}
}

// step says that so much of all is done.
func (p *progress) step(done, all int64) {
	if p.bar != nil {
		p.bar.SetTotal(max(all, done), false) // complete only when it is ended
		p.bar.SetCurrent(done)
	}
}

// end removes the bar, also when the work ended early.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.all.Wait()
		p.bar = nil
	}
}
