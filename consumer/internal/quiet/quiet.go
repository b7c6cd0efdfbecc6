// Package quiet tells of trouble that lasts: an outage of NATS must not become an
// outage of the log.
package quiet

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Every is how often one kind of trouble is told while it lasts.
const Every = 10 * time.Second

// Log tells of each kind of trouble seldom, and how often it went untold. It is
// safe for concurrent use.
type Log struct {
	log zerolog.Logger

	mu    sync.Mutex // guards kinds
	kinds map[string]kind
}

// kind is one kind of trouble.
type kind struct {
	told   time.Time
	untold int // times since then
}

// New returns a log that has told nothing yet.
func New(log zerolog.Logger) *Log { return &Log{log: log, kinds: map[string]kind{}} }

// Warn tells of trouble, unless that was told less than [Every] ago. What was
// tried, and what became of it, is the message and the kind: a text of the program,
// never one made from data, or every survey's would be a kind of its own.
func (l *Log) Warn(err error, msg string) {
	if untold, now := l.due(msg, time.Now()); now {
		l.log.Warn().Err(err).Int("untold", untold).Msg(msg)
	}
}

// due says whether to tell of a kind now, and how often it went untold before.
func (l *Log) due(msg string, now time.Time) (untold int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[msg]
	if !k.told.IsZero() && now.Sub(k.told) < Every {
		k.untold++
		l.kinds[msg] = k
		return 0, false
	}
	l.kinds[msg] = kind{told: now}
	return k.untold, true
}
