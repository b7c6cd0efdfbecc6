package deliverylog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// ordinary attempts at a thousand endpoints, with ids and times as they are.
func ordinary() []delivery.Attempt {
	r := rand.New(rand.NewPCG(1, 2))
	id := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>20, r.Uint32()>>20, r.Uint64()>>16)
	}
	surveys := make([]string, 1000)
	for i := range surveys {
		surveys[i] = id()
	}
	all := make([]delivery.Attempt, 20_000)
	at := time.Now()
	for i := range all {
		a := delivered(surveys[r.IntN(len(surveys))], id())
		a.Host = fmt.Sprintf("hooks-%s.example.com:443", a.Survey[:3])
		a.Took = time.Duration(r.ExpFloat64() * float64(30*time.Millisecond))
		a.Phases.FirstByte = a.Took - time.Duration(r.IntN(100_000))
		a.Started = at.Add(time.Duration(i) * 200 * time.Microsecond) // 5,000 a second
		all[i] = a
	}
	return all
}

// BenchmarkAttempt is what telling the log costs the delivery of an event,
// encoding included; buffers are emptied without being written.
func BenchmarkAttempt(b *testing.B) {
	for name, attempts := range map[string][]delivery.Attempt{
		"delivered": ordinary(),
		"failed":    {failed("survey-1", "response-1")},
	} {
		b.Run(name, func(b *testing.B) {
			l := New(nil, events.Names{}, Options{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.Attempt(uint64(i), attempts[i%len(attempts)])
				if !l.room() {
					for _, c := range l.takeAll() {
						l.retired.Put(c)
					}
				}
			}
		})
	}
}

// BenchmarkAttemptParallel is the same from every core at once.
func BenchmarkAttemptParallel(b *testing.B) {
	attempts := ordinary()
	l := New(nil, events.Names{}, Options{MaxBuffered: 1 << 40})
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.Attempt(uint64(i), attempts[i%len(attempts)])
			if i%20_000 == 0 {
				for _, c := range l.takeAll() {
					l.retired.Put(c)
				}
			}
		}
	})
}

// BenchmarkSettled is what telling of an event without a webhook costs.
func BenchmarkSettled(b *testing.B) {
	surveys := make([]events.Survey, 1000)
	for i := range surveys {
		surveys[i] = events.Survey("survey-" + strconv.Itoa(i))
	}
	l := New(nil, events.Names{}, Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Settled(KindNoWebhook, surveys[i%len(surveys)], uint64(i))
		if i%20_000 == 0 {
			l.takeAll()
		}
	}
}

// BenchmarkFlush is what a record costs from being told to being confirmed by a
// real server in the same process, the server's time included: what gathers in a
// quarter of a second is written as up to 64 messages.
func BenchmarkFlush(b *testing.B) {
	for _, rate := range []int{5_000, 30_000} {
		b.Run(fmt.Sprintf("%d a second", rate), func(b *testing.B) {
			w := newWorld(b)
			defer w.close()
			attempts := ordinary()
			l := New(w.js, w.names, Options{})
			i := 0
			for b.Loop() {
				for range rate / 4 {
					l.Attempt(uint64(i), attempts[i%len(attempts)])
					i++
				}
				must(b, l.Flush(context.Background()))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i), "ns/record")
		})
	}
}

// BenchmarkCompress is the share of compression in that, and what it gives.
func BenchmarkCompress(b *testing.B) {
	for _, records := range []int{20, 200} { // a quarter of a second at 5,000 a second, and a full message
		b.Run(strconv.Itoa(records)+" records", func(b *testing.B) {
			var text []byte
			n := 0
			for i, a := range ordinary() {
				if n < records && (events.Names{}).Shard(a.Survey) == 0 {
					text = appendAttempt(text, uint64(1000+i), &a)
					n++
				}
			}
			packed := 0
			for b.Loop() {
				packed = len(s2.Encode(nil, text))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			b.ReportMetric(float64(len(text))/float64(n), "plainB/record")
			b.ReportMetric(float64(packed)/float64(n), "packedB/record")
		})
	}
}

// BenchmarkDecode is what a record costs a reader.
func BenchmarkDecode(b *testing.B) {
	a := delivered("550e8400-e29b-41d4-a716-446655440000", "7c9e6679-7425-40de-944b-e07fc1f90ae7")
	text := appendAttempt(nil, 12345, &a)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeRecord(text); err != nil {
			b.Fatal(err)
		}
	}
}
