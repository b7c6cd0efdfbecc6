package deliverylog

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

// TestNothingSecretReachesTheLog has a receiver that prints all it was sent, and
// the secret it shares with us, into its answer.
func TestNothingSecretReachesTheLog(t *testing.T) {
	const secret, path, query, credential = "the owner's secret", "/hooks/a-token-in-the-path", "key=a-token-in-the-query", "an-api-credential"
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintln(w, "you sent", r.URL, r.Header.Get("Authorization"), "and my secret is", secret)
	}))
	defer receiver.Close()
	shared, err := delivery.NewSecret(secret)
	must(t, err)
	rules := delivery.Rules{AllowInsecure: true}
	target, err := delivery.NewTarget(delivery.TargetSpec{
		Survey: "s", URL: "http://hooks.example.com" + path + "?" + query, Secrets: []delivery.SecretSpec{{Secret: shared}},
		Headers: map[string]string{"Authorization": "Bearer " + credential},
	}, rules)
	must(t, err)
	client, err := delivery.NewClient(delivery.Options{
		Version: "test", Rules: rules,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", receiver.Listener.Addr().String())
		},
	})
	must(t, err)
	defer client.Close()

	w := newWorld(t)
	defer w.close()
	l := New(w.js, w.names, Options{Replica: "a"})
	a := client.Send(t.Context(), target, events.Event{ID: "r-1", Kind: events.KindCompleted, Survey: "s", Time: time.Now(), Body: []byte("{}")}, delivery.Meta{})
	l.Attempt(1, a)
	must(t, l.Flush(t.Context()))

	var seen strings.Builder
	for msg, err := range walk.Stream(t.Context(), w.js, w.names.Attempts(), (&Filter{}).walk(w.names, false)) {
		must(t, err)
		text, err := unpack(msg)
		must(t, err)
		_, _ = fmt.Fprintf(&seen, "%v\n%s", msg.Header, text)
	}
	for _, r := range w.read(Filter{}) {
		text, err := json.Marshal(r)
		must(t, err)
		_, _ = fmt.Fprintf(&seen, "%s\n%+v", text, r)
	}
	if !strings.Contains(seen.String(), "and my secret is") {
		t.Fatalf("the answer is not in the log:\n%s", seen.String())
	}
	leaktest.Plant(t, secret, path, query, credential, "a-token-in", delivery.Sign(shared, []byte("{}"))).In(t, "the log", []byte(seen.String()))
}
