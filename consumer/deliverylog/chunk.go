package deliverylog

import (
	"fmt"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

// chunkBytes is when a chunk is full. One line may exceed it by its own length;
// a message stays far below any server's limit.
const chunkBytes = 64 << 10

// The headers of a message of the log.
const (
	headerEncoding  = "Popsee-Encoding"
	headerReplica   = "Popsee-Replica"
	headerSequences = "Popsee-Sequences"
	headerTimes     = "Popsee-Times"
	encodingS2      = "s2"
)

// chunk is what becomes one message: lines of one shard.
type chunk struct {
	shard   int
	opened  time.Time
	body    []byte
	records uint64 // what was told to the log and stands in body, a settled event counting as one
	run     Run    // lowest and highest sequence in body
	since   time.Time
	until   time.Time
	carries Loss // what the dropped record in body tells of
}

// cover widens the chunk's bounds.
func (c *chunk) cover(run Run, at time.Time) {
	if c.run.To == 0 || run.From < c.run.From {
		c.run.From = run.From
	}
	c.run.To = max(c.run.To, run.To)
	if c.since.IsZero() || at.Before(c.since) {
		c.since = at
	}
	if at.After(c.until) {
		c.until = at
	}
}

func (c *chunk) addSettled(k settledKey, since time.Time, runs []Run) {
	c.body = appendSettled(c.body, k, since, runs)
	for _, r := range runs {
		c.records += r.Len()
	}
	c.cover(Run{runs[0].From, runs[len(runs)-1].To}, since)
}

func (c *chunk) addDropped(l Loss) {
	c.body = appendDropped(c.body, l)
	c.carries = l
	c.cover(l.Run, l.Since)
	c.cover(l.Run, l.Until)
}

// lost is what goes missing when this chunk cannot be written.
func (c *chunk) lost() Loss {
	return Loss{Records: c.records, Run: c.run, Since: c.since, Until: c.until}
}

// message compresses the chunk: lines repeat each other, and the log's share of
// the store decides how far back it reaches.
func (c *chunk) message(names events.Names, replica string) *nats.Msg {
	return &nats.Msg{
		Subject: names.AttemptsSubject(c.shard),
		Header: nats.Header{
			events.FormatHeader: {events.Format},
			headerEncoding:      {encodingS2},
			headerReplica:       {replica},
			headerSequences:     {fmt.Sprintf("%d-%d", c.run.From, c.run.To)},
			headerTimes:         {c.since.UTC().Format(time.RFC3339Nano) + "/" + c.until.UTC().Format(time.RFC3339Nano)},
		},
		Data: s2.Encode(nil, c.body),
	}
}
