package natsd

import (
	"fmt"

	"github.com/rs/zerolog"
)

// logger passes the server's warnings and errors on; what it says otherwise is
// nobody's business until something is wrong.
type logger struct{ log zerolog.Logger }

// Noticef implements server.Logger.
func (l logger) Noticef(format string, v ...any) {
	l.log.Debug().Str("from", "nats").Msg(fmt.Sprintf(format, v...))
}

// Warnf implements server.Logger.
func (l logger) Warnf(format string, v ...any) {
	l.log.Warn().Str("from", "nats").Msg(fmt.Sprintf(format, v...))
}

// Fatalf implements server.Logger. It does not end the process: the start
// reports that the server is not ready.
func (l logger) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Errorf implements server.Logger.
func (l logger) Errorf(format string, v ...any) {
	l.log.Error().Str("from", "nats").Msg(fmt.Sprintf(format, v...))
}

// Debugf implements server.Logger.
func (l logger) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l logger) Tracef(string, ...any) {}
