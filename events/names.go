package events

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// KindCompleted is the one kind of event there is.
const KindCompleted = "response.completed"

// base is the event subject without a survey.
const base = "responses.completed"

// FormatHeader and Format mark every message of ours on the bus, so that a
// newer version's can be told apart.
const (
	FormatHeader = "Popsee-Format"
	Format       = "1"
)

// Shards is how many parts the lanes and the delivery log are divided into.
const Shards = 64

// Names spells every name on the bus, and is the only place that does. The zero
// value has no prefix.
type Names struct {
	prefix string
	shards int // 0 means Shards
}

// NewNames returns the names of a deployment with a prefix, which keeps several
// deployments on one NATS apart; the empty prefix gives the plain names.
func NewNames(prefix string) (Names, error) {
	if prefix == "" {
		return Names{}, nil
	}
	if len(prefix) > 32 || strings.IndexFunc(prefix, func(r rune) bool { return r > 127 || !surveyByte(byte(r)) }) >= 0 {
		return Names{}, fmt.Errorf("prefix %q is not valid: use 1 to 32 letters, digits, - and _", prefix)
	}
	return Names{prefix: prefix}, nil
}

func (n Names) name(s string) string {
	if n.prefix == "" {
		return s
	}
	return n.prefix + "_" + s
}

func (n Names) subject(s string) string {
	if n.prefix == "" {
		return s
	}
	return n.prefix + "." + s
}

// Prefix is the deployment's prefix, empty without one.
func (n Names) Prefix() string { return n.prefix }

// Stream is the event stream.
func (n Names) Stream() string { return n.name("RESPONSES") }

// Subjects are the event stream's subjects: with and without the survey's id.
func (n Names) Subjects() []string {
	return []string{n.subject(base), n.subject(base + ".*")}
}

// Subject is where a survey's events are published.
func (n Names) Subject(s Survey) string { return n.subject(base + "." + string(s)) }

// Consumer is the live consumer; it is per stream, so it takes no prefix.
func (n Names) Consumer() string { return "webhooks" }

// State is the bucket of the mark.
func (n Names) State() string { return n.name("webhook_state") }

// Endpoints is the bucket of webhook endpoints, by survey id.
func (n Names) Endpoints() string { return n.name("webhook_endpoints") }

// Health is the bucket that shows which endpoints fail, are disabled or owed to.
func (n Names) Health() string { return n.name("webhook_health") }

// Replicas is the bucket in which live replicas announce themselves.
func (n Names) Replicas() string { return n.name("webhook_replicas") }

// Leases is the bucket of shard leases.
func (n Names) Leases() string { return n.name("webhook_shards") }

// Replays is the bucket of replay jobs.
func (n Names) Replays() string { return n.name("webhook_replays") }

// Lanes is the stream of events waiting for an endpoint.
func (n Names) Lanes() string { return n.name("WEBHOOK_LANES") }

// LaneSubjects are the lanes stream's subjects.
func (n Names) LaneSubjects() []string { return []string{n.subject("webhooks.lanes.*.*")} }

// LaneSubject is the lane of a survey.
func (n Names) LaneSubject(s Survey) string {
	return n.subject(fmt.Sprintf("webhooks.lanes.%02d.%s", n.Shard(s), s))
}

// LaneShardSubject matches every lane of a shard.
func (n Names) LaneShardSubject(shard int) string {
	return n.subject(fmt.Sprintf("webhooks.lanes.%02d.*", shard))
}

// Shard is the part of the lanes a survey belongs to: FNV-1a of its id. It is
// part of the format on the bus and never changes.
func (n Names) Shard(s Survey) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return int(h.Sum64() % uint64(n.ShardCount())) //nolint:gosec // never negative
}

// ShardCount is how many shards there are: [Shards], unless [Names.WithShards]
// was told otherwise.
func (n Names) ShardCount() int {
	if n.shards == 0 {
		return Shards
	}
	return n.shards
}

// WithShards returns names that divide a deployment into count shards, from 1 to
// [Shards]. It is for tests that live through weeks, in which every idle shard
// costs a heartbeat twice a minute. A deployment is never given another number
// than it was born with.
func (n Names) WithShards(count int) Names {
	n.shards = count
	return n
}

// DeadLetters is the stream of what was given up on.
func (n Names) DeadLetters() string { return n.name("WEBHOOK_DEAD_LETTERS") }

// DeadSubjects are the dead letter stream's subjects.
func (n Names) DeadSubjects() []string { return []string{n.subject("webhooks.dead.*")} }

// DeadSubject is where a survey's dead letters go; the empty survey is unknown.
func (n Names) DeadSubject(s Survey) string {
	if s == "" {
		return n.subject("webhooks.dead._")
	}
	return n.subject("webhooks.dead." + string(s))
}

// Attempts is the stream of the delivery log.
func (n Names) Attempts() string { return n.name("WEBHOOK_ATTEMPTS") }

// AttemptsSubjects are the delivery log's subjects.
func (n Names) AttemptsSubjects() []string { return []string{n.subject("webhooks.attempts.*")} }

// AttemptsSubject is where one shard's attempts are logged.
func (n Names) AttemptsSubject(shard int) string {
	return n.subject(fmt.Sprintf("webhooks.attempts.%02d", shard))
}

// ReplayConsumer is the durable of a replay.
func (n Names) ReplayConsumer(id string) string { return "webhooks-replay-" + id }

// SubjectSurvey is the survey an event's subject names; empty when it names
// none that is valid. It serves where the body cannot be read.
func (n Names) SubjectSurvey(subject string) Survey {
	rest, ok := strings.CutPrefix(subject, n.subject(base)+".")
	if !ok {
		return ""
	}
	survey, err := ParseSurvey(rest)
	if err != nil {
		return ""
	}
	return survey
}
