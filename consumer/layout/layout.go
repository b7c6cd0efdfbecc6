// Package layout says what the service needs to exist on the bus, and how each
// stream, bucket and consumer is set up. It touches nothing: package provision
// creates and verifies what stands here.
package layout

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// What zero means in a [Layout], and the reasons for what cannot be chosen.
const (
	defaultAckWait = 30 * time.Second    // six attempts of 5 s: nothing in hand is ever redelivered beside itself
	defaultHistory = 30 * 24 * time.Hour // how long events stay replayable
	deadAge        = 90 * 24 * time.Hour // how long a dead letter waits for somebody to look
	attemptsAge    = 7 * 24 * time.Hour  // how long the delivery log is kept
	maxAckPending  = 20_000              // all replicas together; only what is in hand counts, nothing waits in pending
	replayPending  = 5_000               // likewise, of one replay
	replayIdle     = 24 * time.Hour      // a replay's consumer that nobody pulls from is removed; one that is resumed later gets another
	noHistory      = 1                   // the value alone
	endpointsPast  = 8                   // earlier revisions of an endpoint, for the person who asks what changed
)

// Shares of the store, in per cent. They add up to less than all of it, so that
// buckets always find room.
const (
	historyShare  = 60
	lanesShare    = 20
	deadShare     = 10
	attemptsShare = 5
)

// LeaseTTL is how long a replica's announcement and a shard's lease live
// without renewal.
const LeaseTTL = 15 * time.Second

// Layout is the set-up of one deployment. Its zero value is a single server
// with the default names.
type Layout struct {
	Names      events.Names
	Replicas   int           // copies of every stream and bucket; 0 means 1
	AckWait    time.Duration // how long one delivery may stay unacknowledged; 0 means 30 s
	History    time.Duration // how long an event stays in the stream we create; 0 means 30 days
	LeaseTTL   time.Duration // how long an announcement or a lease lives without renewal; 0 means LeaseTTL, 15 s
	StoreBytes int64         // what the JetStream store may hold in all; 0 means unknown, and streams are bounded by time alone
}

// Wait is how long one delivery may stay unacknowledged.
func (l Layout) Wait() time.Duration { return orDuration(l.AckWait, defaultAckWait) }

func (l Layout) replicas() int { return max(l.Replicas, 1) }

// share is of one copy: NATS counts each against the account's limit.
func (l Layout) share(percent int64) int64 {
	if l.StoreBytes <= 0 {
		return -1
	}
	return l.StoreBytes / 100 * percent / int64(l.replicas())
}

func orDuration(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// Events is how the event stream is created where the platform has not created
// it: limits retention, so that history stays for replays.
func (l Layout) Events() jetstream.StreamConfig {
	cfg := l.stream(l.Names.Stream(), "survey response events, delivered as webhooks", l.Names.Subjects())
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxAge = orDuration(l.History, defaultHistory)
	cfg.MaxBytes = l.share(historyShare)
	cfg.Duplicates = 2 * time.Minute // the server's default, written down because publishers rely on it
	cfg.AllowDirect = true
	return cfg
}

// Own are the streams that belong to this service alone.
func (l Layout) Own() []jetstream.StreamConfig {
	lanes := l.stream(l.Names.Lanes(), "events waiting for their endpoint, a subject a survey", l.Names.LaneSubjects())
	lanes.Discard = jetstream.DiscardNew // full means refused, never dropped
	lanes.MaxBytes = l.share(lanesShare)
	lanes.AllowAtomicPublish = true       // parking in bulk is one write
	lanes.AllowDirect = l.replicas() == 1 // what was just removed must not be read from a follower that has not heard of it

	dead := l.stream(l.Names.DeadLetters(), "events that were given up on, with the reason", l.Names.DeadSubjects())
	dead.Discard = jetstream.DiscardNew
	dead.MaxBytes = l.share(deadShare)
	dead.MaxAge = deadAge
	dead.AllowDirect = true

	attempts := l.stream(l.Names.Attempts(), "the delivery log: many attempts a message", l.Names.AttemptsSubjects())
	attempts.Discard = jetstream.DiscardOld
	attempts.MaxBytes = l.share(attemptsShare)
	attempts.MaxAge = attemptsAge
	attempts.AllowDirect = true
	return []jetstream.StreamConfig{lanes, dead, attempts}
}

func (l Layout) stream(name, description string, subjects []string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        name,
		Description: description,
		Subjects:    subjects,
		Retention:   jetstream.LimitsPolicy, // the others have a history of lost or stuck messages
		Storage:     jetstream.FileStorage,
		MaxBytes:    -1,
		MaxMsgs:     -1,
		MaxMsgSize:  -1,
		Replicas:    l.replicas(),
	}
}

// Consumer is the durable every replica pulls from. start is the first stream
// sequence it delivers. filters is empty where the stream holds nothing but our
// subjects.
//
// MaxDeliver is -1 and BackOff empty because both end in a message the server
// stops delivering without anybody having settled it.
func (l Layout) Consumer(start uint64, filters []string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:        l.Names.Consumer(),
		Description:    "delivers webhooks; shared by every replica",
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    start,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        l.Wait(),
		MaxAckPending:  maxAckPending,
		MaxDeliver:     -1,
		ReplayPolicy:   jetstream.ReplayInstantPolicy,
		FilterSubjects: filters,
	}
	if len(filters) == 1 {
		cfg.FilterSubject, cfg.FilterSubjects = filters[0], nil
	}
	return cfg
}

// FiltersOf lists the subjects that a consumer is given, one or several; none means all.
func FiltersOf(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

// Replay is the durable of one replay, shared by every replica like the live
// consumer. start is the first stream sequence it delivers.
func (l Layout) Replay(id string, start uint64, filters []string) jetstream.ConsumerConfig {
	cfg := l.Consumer(start, filters)
	cfg.Durable, cfg.Description = l.Names.ReplayConsumer(id), "sends stored events again; shared by every replica"
	cfg.MaxAckPending, cfg.InactiveThreshold = replayPending, replayIdle
	return cfg
}

// Buckets are the key-value buckets, in the order they are created.
func (l Layout) Buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		l.bucket(l.Names.State(), "where the live consumer stood: the mark", noHistory),
		l.bucket(l.Names.Endpoints(), "webhook endpoints, one a survey", endpointsPast),
		l.bucket(l.Names.Health(), "endpoints that fail, are disabled or are owed events", noHistory),
		l.leased(l.Names.Replicas(), "the replicas that live now"),
		l.leased(l.Names.Leases(), "which replica owns which shard of the lanes"),
		l.bucket(l.Names.Replays(), "replays: jobs that send stored events again", noHistory),
	}
}

func (l Layout) bucket(name, description string, history uint8) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:      name,
		Description: description,
		History:     history,
		Storage:     jetstream.FileStorage,
		Replicas:    l.replicas(),
	}
}

// leased is a bucket whose keys vanish unless renewed. Limit markers tell a
// watcher that a key has expired; without them it would hear nothing.
func (l Layout) leased(name, description string) jetstream.KeyValueConfig {
	cfg := l.bucket(name, description, noHistory)
	cfg.TTL = orDuration(l.LeaseTTL, LeaseTTL)
	cfg.LimitMarkerTTL = LeaseTTL
	return cfg
}
