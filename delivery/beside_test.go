package delivery

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// What holds for the endpoint beside a hostile one, and for the process. The ratio is generous, for the hostile
// receivers run on the same cores; one attempt that waits for another's time-out exceeds it by far.
const (
	besideRatio     = 25      // the healthy endpoint's median beside them, over its median alone
	memoryPerHanger = 1 << 20 // live heap that one hostile connection may cost at the very most
)

// onSocket is one hostile receiver on a real socket, and how an attempt at it must end.
type onSocket struct {
	name, scheme string
	serve        func(net.Conn)
	verdict      Verdict
	reasons      []Reason
}

// everyHostileReceiver gathers the receivers of the other tests, which meet them one by one and in fake time.
func everyHostileReceiver(t *testing.T, ca *authority) []onSocket {
	cert := ca.issue(t, "hostile.example", longLeft)
	var all []onSocket
	for _, v := range hostileReceivers() {
		if strings.HasPrefix(v.name, "a 2xx just") {
			continue // ten milliseconds, which only fake time has
		}
		all = append(all, onSocket{v.name, "http", v.serve, v.verdict, []Reason{v.reason}})
	}
	for _, v := range endlessAnswers() {
		all = append(all, onSocket{v.name, "http", floods(v.text, v.rest, new(int)), v.verdict, []Reason{v.reason}})
	}
	for _, v := range hostileHTTP2Receivers() {
		all = append(all, onSocket{"HTTP/2: " + v.name, "https", speaksHTTP2(cert, v.settings, v.then), v.verdict, v.reasons})
	}
	over := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			if s := tls.Server(conn, c); s.HandshakeContext(t.Context()) == nil {
				says(ok(2, "ok"))(s)
			}
		}
	}
	bad := []Reason{ReasonTLS}
	strangers := newAuthority(t)
	return append(all,
		onSocket{"TLS: a proper one", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}}), Delivered, []Reason{Reason2xx}},
		onSocket{"TLS: expired", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "hostile.example", longAgo.Add(time.Hour))}}), Again, bad},
		onSocket{"TLS: of nobody known", "https", over(&tls.Config{Certificates: []tls.Certificate{strangers.issue(t, "hostile.example", longLeft)}}), Again, bad},
		onSocket{"TLS: of another name", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "other.example", longLeft)}}), Again, bad},
		onSocket{"TLS: 1.0", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), Again, bad}, //nolint:gosec // the test is about it
		onSocket{"TLS: the handshake stalls", "https", hangs, Again, []Reason{ReasonTimeout}},
		onSocket{"TLS: garbage", "https", says("garbage, not TLS\r\n\r\n"), Again, []Reason{ReasonTLS, ReasonReset}},
	)
}

// listen serves every connection to a new address with serve, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l
}

// While every hostile receiver there is has an attempt under way, on real sockets, a healthy endpoint keeps its latency,
// and the process its memory. And each of them ends as it does alone.
func TestAHealthyEndpointBesideEveryHostileOne(t *testing.T) {
	ca := newAuthority(t)
	receivers := everyHostileReceiver(t, ca)
	client := mustClient(t, Options{RootCAs: ca.pool, Rules: Rules{AllowInsecure: true}, Resolver: resolver(t, func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
		return addresses(k, "127.0.0.1")
	})})
	good := receiver(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {})
	healthy := mustTarget(t, TargetSpec{URL: "http://" + good.String()})
	alone := median(t, client, healthy, time.After(500*time.Millisecond))

	before := liveHeap()
	ends := make([]Attempt, len(receivers))
	done := make(chan struct{})
	var attempts sync.WaitGroup
	for i, v := range receivers {
		_, port, err := net.SplitHostPort(listen(t, v.serve).Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		target := mustTarget(t, TargetSpec{URL: v.scheme + "://hostile.example:" + port + "/"})
		attempts.Go(func() { ends[i] = client.Send(context.WithoutCancel(t.Context()), target, testEvent(), Meta{}) })
	}
	go func() { attempts.Wait(); close(done) }()
	var grown uint64
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(300 * time.Millisecond):
				grown = max(grown, max(liveHeap(), before)-before)
			}
		}
	})
	beside := median(t, client, healthy, done)
	looking.Wait()
	client.Close() // or kept connections hold the receivers for a minute
	t.Logf("%d hostile receivers; the healthy one's median: %s alone, %s beside them; live heap grew by %d KiB", len(receivers), alone, beside, grown>>10)
	if beside > besideRatio*max(alone, 100*time.Microsecond) {
		t.Errorf("the healthy endpoint's median is %s beside hostile ones, %s alone", beside, alone)
	}
	if grown > uint64(len(receivers))*memoryPerHanger {
		t.Errorf("the live heap grew by %d KiB for %d hostile receivers", grown>>10, len(receivers))
	}
	for i, v := range receivers {
		t.Run(v.name, func(t *testing.T) {
			reasons := v.reasons
			if v.verdict == Again && !slices.Contains(reasons, ReasonTimeout) {
				reasons = append(slices.Clone(reasons), ReasonReset) // a socket that is closed with something unread takes back what was written
			}
			wantOneOf(t, ends[i], v.verdict, reasons)
			if ends[i].Took > 5500*time.Millisecond {
				t.Errorf("took %s", ends[i].Took)
			}
		})
	}
}

// median sends to a healthy endpoint until told to stop, all of which must be delivered, and gives the median time.
func median[T any](t *testing.T, client *Client, target *Target, stop <-chan T) time.Duration {
	t.Helper()
	var took []time.Duration
	for {
		select {
		case <-stop:
			slices.Sort(took)
			return took[len(took)/2]
		default:
			a := client.Send(t.Context(), target, testEvent(), Meta{})
			wantEnd(t, a, Delivered, Reason2xx)
			took = append(took, a.Took)
			time.Sleep(time.Millisecond)
		}
	}
}

// liveHeap is what a collection has left.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
