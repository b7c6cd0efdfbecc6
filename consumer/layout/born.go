package layout

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// bornKey is where a restored stream says, in its metadata, which stream it goes on.
const bornKey = "popsee-restored"

// restoreTime is more than it takes to restore a stream.
const restoreTime = 24 * time.Hour

// Born is when the sequences of a stream began to count. NATS gives a stream that is
// restored from a backup a creation time of its own, although each of its messages
// stands where it stood; then it is that of the stream that was backed up. A stream
// that was made by hand with a restored one's metadata is another one all the same:
// it is newer than what stands there.
//
// The nodes of a cluster do not agree on when a restored stream was created: the one
// that restored it says when that was done, the others when it was asked for, which is
// what is heard as soon as one of them leads.
func Born(info *jetstream.StreamInfo) time.Time {
	of, as, _ := strings.Cut(info.Config.Metadata[bornKey], " ")
	restored, err := time.Parse(time.RFC3339Nano, as)
	if early := restored.Sub(info.Created); err != nil || early < 0 || early > restoreTime {
		return info.Created
	}
	born, err := time.Parse(time.RFC3339Nano, of)
	if err != nil {
		return info.Created
	}
	return born
}

// WithBorn returns a restored stream's metadata with what [Born] reads: that the
// stream created then goes on the one born then.
func WithBorn(metadata map[string]string, born, created time.Time) map[string]string {
	with := map[string]string{}
	for k, v := range metadata {
		if !strings.HasPrefix(k, "_nats.") { // the server's own: it writes them again
			with[k] = v
		}
	}
	with[bornKey] = born.UTC().Format(time.RFC3339Nano) + " " + created.UTC().Format(time.RFC3339Nano)
	return with
}
