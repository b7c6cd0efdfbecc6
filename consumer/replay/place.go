package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// readerGone is how long the server remembers a reader that only answered a
// question, should its removal fail.
const readerGone = 10 * time.Second

// At is the first sequence of the event stream that was stored at or after a
// moment, by the server's clock; the one after the last when nothing was.
func At(ctx context.Context, js jetstream.JetStream, names events.Names, t time.Time) (uint64, error) {
	info, err := ask(ctx, js, names, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t})
	if err != nil {
		return 0, err
	}
	return info.Delivered.Stream + 1, nil
}

// Count is how many events stand between two sequences, both included, on the
// subjects that a replay of these surveys reads.
func Count(ctx context.Context, js jetstream.JetStream, names events.Names, surveys []events.Survey, start, end uint64) (uint64, error) {
	stream, err := js.Stream(ctx, names.Stream())
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", names.Stream(), err)
	}
	filters := Filters(stream.CachedInfo().Config, names, surveys)
	from := func(seq uint64) (uint64, error) {
		info, err := ask(ctx, js, names, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq, FilterSubjects: filters,
		})
		if err != nil {
			return 0, err
		}
		return info.NumPending, nil
	}
	// Beyond the end first: what is published in between makes the difference larger,
	// and never negative.
	beyond, err := from(end + 1)
	if err != nil {
		return 0, err
	}
	all, err := from(start)
	return all - min(beyond, all), err
}

// ask makes a reader for what the server then says of it.
func ask(ctx context.Context, js jetstream.JetStream, names events.Names, cfg jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	cfg.Description, cfg.AckPolicy, cfg.MemoryStorage, cfg.Replicas, cfg.InactiveThreshold = "answers a question", jetstream.AckNonePolicy, true, 1, readerGone
	cons, err := js.CreateConsumer(ctx, names.Stream(), cfg)
	if err != nil {
		return nil, fmt.Errorf("look into stream %s: %w", names.Stream(), err)
	}
	info := cons.CachedInfo()
	_ = js.DeleteConsumer(ctx, names.Stream(), info.Name) // it would end by itself
	return info, nil
}

// fewSurveys is up to how many surveys a filter costs the server less than what it
// keeps away.
const fewSurveys = 16

// Filters are the subjects that a replay of these surveys reads: their own, and
// the one without a survey, on which anybody's event may stand. Where the stream
// holds nothing else, or the surveys are many, it reads everything of ours.
func Filters(stream jetstream.StreamConfig, names events.Names, surveys []events.Survey) []string {
	if len(surveys) == 0 || len(surveys) > fewSurveys {
		return layout.Filters(stream, names.Subjects())
	}
	ours := []string{names.Subjects()[0]}
	for _, s := range surveys {
		ours = append(ours, names.Subject(s))
	}
	filters, some := layout.Within(stream, ours)
	if !some { // a stream that can hold none of them has nothing to filter
		return layout.Filters(stream, names.Subjects())
	}
	return filters
}
