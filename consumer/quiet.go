package consumer

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// quietFor is how often one kind of trouble is told while it lasts; an outage
// of NATS must not become an outage of the log.
const quietFor = 10 * time.Second

// quiet tells of one kind of trouble, and how often it went untold.
type quiet struct {
	log  zerolog.Logger
	mu   sync.Mutex // guards the rest
	last time.Time
	hush int
}

func newQuiet(log zerolog.Logger) *quiet { return &quiet{log: log} }

func (q *quiet) warn(err error, msg string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Sub(q.last) < quietFor {
		q.hush++
		return
	}
	q.log.Warn().Err(err).Int("untold", q.hush).Msg(msg)
	q.last, q.hush = now, 0
}
