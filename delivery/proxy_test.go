package delivery

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// Neither a receiver's name nor anything else goes to a proxy that the environment names: the guard would see nothing
// but the proxy. Only a process of its own shows it, for Go reads these variables once, and they mean nothing for
// loopback addresses; so the receiver has a name.
func TestSendIgnoresProxySettings(t *testing.T) {
	if !alone(t) {
		return
	}
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://"+trap.Addr.String())
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	dns := resolver(t, toAddress("127.0.0.1"))
	plain := receiver(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {})
	client := mustClient(t, Options{Rules: Rules{AllowInsecure: true}, Resolver: dns})
	target := mustTarget(t, TargetSpec{URL: fmt.Sprintf("http://hooks.example.com:%d/", plain.Port())})
	wantEnd(t, send(t, client, target), Delivered, Reason2xx)
	secured := mustTarget(t, TargetSpec{URL: fmt.Sprintf("https://hooks.example.com:%d/", plain.Port())})
	wantEnd(t, send(t, client, secured), Again, ReasonTLS) // it came to the receiver, which speaks no TLS
	// And the guard judges as ever.
	wantEnd(t, send(t, mustClient(t, Options{Resolver: dns}), target), Again, ReasonBlocked)
	trap.Untouched(t)

	for _, scheme := range []string{"http", "https"} {
		proxied := client.transport.Clone()
		proxied.Proxy = http.ProxyFromEnvironment
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, scheme+"://hooks.example.com/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if response, err := proxied.RoundTrip(r); err == nil {
			response.Body.Close()
		}
		trap.Touched(t)
	}
}
