package config_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

func surveyID(i int) events.Survey {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	return events.Survey(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>20, r.Uint32()>>20, r.Uint64()>>16))
}

// fill writes endpoints like real ones: an address of its own each, one sealed
// secret, as large as they come from the command line.
func (w *world) fill(n int) {
	w.t.Helper()
	at := time.Now().UTC().Truncate(time.Millisecond)
	secret := sealed(w.t, w.keys, surveyID(0), plainSecret)
	random := []byte(secret.Sealed)
	for i := range n {
		id := surveyID(i)
		if i > 0 { // random text costs what sealed text costs, and takes no time to seal
			for j := range random[:len(random)-4] {
				random[j] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rand.IntN(64)]
			}
		}
		e := config.Endpoint{
			URL: fmt.Sprintf("https://host%d.example.com/webhooks/%s", i%100_000, id), Enabled: true, UpdatedAt: at,
			Secrets: []config.SealedSecret{{KeyID: secret.KeyID, Sealed: string(random)}},
		}
		b, err := e.Encode()
		check(w.t, err)
		_, err = w.js.PublishAsync("$KV."+bucket+"."+string(id), b)
		check(w.t, err)
		if i%10_000 == 0 {
			<-w.js.PublishAsyncComplete()
		}
	}
	<-w.js.PublishAsyncComplete()
}

func BenchmarkTarget(b *testing.B) {
	w := newWorld(b)
	ed := config.NewEditor(w.kv, delivery.Rules{})
	ids := make([]events.Survey, 1000)
	for i := range ids {
		ids[i] = surveyID(i)
		_, err := ed.Put(b.Context(), w.endpoint(ids[i]))
		check(b, err)
	}
	s := w.open()
	b.Run("hot", func(b *testing.B) { benchTarget(b, s, ids, nil) })
	b.Run("miss", func(b *testing.B) {
		benchTarget(b, s, []events.Survey{"none"}, config.ErrNoEndpoint)
	})
}

func benchTarget(b *testing.B, s *config.Store, ids []events.Survey, want error) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for i := rand.IntN(len(ids)); pb.Next(); i++ {
			if _, _, err := s.Target(ctx, ids[i%len(ids)]); (err != nil) != (want != nil) {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpenSecret is what the first delivery of a survey costs more.
func BenchmarkOpenSecret(b *testing.B) {
	ring := newRing(b)
	s := sealed(b, ring, "s1", plainSecret)
	for b.Loop() {
		if _, err := ring.Open("s1", s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEndpoint(b *testing.B) {
	e := config.Endpoint{
		URL: "https://host.example.com/webhooks/s1", Enabled: true, UpdatedAt: time.Now(),
		Secrets: []config.SealedSecret{sealed(b, newRing(b), "s1", plainSecret)},
	}
	value := mustEncode(b, e)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := config.ParseEndpoint("s1", value, delivery.Rules{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad opens a store of many endpoints, 20,000 or as many as
// WEBHOOKS_BENCH_ENDPOINTS says, and reports what each costs in time, and the
// highest resident memory of the process. With WEBHOOKS_BENCH_NATS the server
// is another process, which keeps its memory out of the figure; the bucket is
// filled there on the first run, so the second one is the one to read:
//
//	go run github.com/nats-io/nats-server/v2 -js -sd /tmp/bench -p 4333 &
//	WEBHOOKS_BENCH_NATS=nats://127.0.0.1:4333 WEBHOOKS_BENCH_ENDPOINTS=1000000 \
//		go test ./config -run '^$' -bench Load -benchtime 1x
func BenchmarkLoad(b *testing.B) {
	n := 20_000
	if text := os.Getenv("WEBHOOKS_BENCH_ENDPOINTS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		check(b, err)
	}
	w := benchWorld(b, os.Getenv("WEBHOOKS_BENCH_NATS"), n)
	var s *config.Store
	for b.Loop() {
		if s != nil {
			s.Close()
		}
		s = w.open()
	}
	if got := s.Len(); got != n {
		b.Fatalf("%d endpoints, want %d", got, n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/endpoint")
	b.ReportMetric(memory(b, "VmHWM:"), "MiB-peak")
	runtime.GC()
	b.ReportMetric(memory(b, "VmRSS:"), "MiB-RSS")
}

// benchWorld fills the bucket of a server of its own, or of the one at a URL
// unless it is filled already.
func benchWorld(b *testing.B, url string, n int) *world {
	b.Helper()
	w := &world{t: b, log: &logged{}}
	if url == "" {
		w = newWorld(b)
	} else {
		file, err := os.ReadFile("testdata/keyring.json") // the same on every run, as the bucket is
		check(b, err)
		w.keys, err = config.ParseKeyring(file)
		check(b, err)
		nc, err := nats.Connect(url)
		check(b, err)
		b.Cleanup(nc.Close)
		w.nc = nc
	}
	js, err := jetstream.New(w.nc, jetstream.WithPublishAsyncMaxPending(20_000))
	check(b, err)
	w.js = js
	if url != "" {
		w.makeBucket()
	}
	status, err := w.kv.Status(b.Context())
	check(b, err)
	if status.Values() != uint64(n) {
		w.fill(n)
	}
	return w
}

// memory reads a line of the process's status, in MiB; 0 where the system has
// none.
func memory(b *testing.B, line string) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), line)
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	check(b, err)
	return kib / 1024
}
