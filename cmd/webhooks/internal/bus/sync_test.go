package bus_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
)

func TestAServerThatDoesNotSyncEveryWriteIsWarnedOf(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for name, c := range map[string]struct {
		monitors []string
		want     string // empty: nothing is said
	}{
		"by default":              {[]string{monitored(t, false)}, `"sync_interval":"2m0s"`},
		"with every write synced": {[]string{monitored(t, true) + "/"}, ""},
		"one of two":              {[]string{monitored(t, true), monitored(t, false)}, "acknowledges events before"},
		"not asked":               {nil, "--nats-monitor"},
		"something else":          {[]string{other.URL}, "could not be checked"},
		"nobody":                  {[]string{"http://127.0.0.1:1"}, "could not be checked"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			bus.WarnOfSync(t.Context(), c.monitors, zerolog.New(&log))
			if got := log.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
}

// monitored starts a server with JetStream, and returns its monitoring address.
func monitored(t *testing.T, always bool) string {
	t.Helper()
	s := serve(t, server.Options{JetStream: true, StoreDir: t.TempDir(), HTTPHost: "127.0.0.1", HTTPPort: -1, SyncAlways: always})
	return "http://" + s.MonitorAddr().String()
}
