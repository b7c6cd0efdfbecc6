package deliverylog

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// ordinary attempts at a thousand endpoints, with ids as they are.
func ordinary() []delivery.Attempt {
	all := make([]delivery.Attempt, 1000)
	for i := range all {
		all[i] = delivered(fmt.Sprintf("550e8400-e29b-41d4-a716-4466554%05d", i), fmt.Sprintf("7c9e6679-7425-40de-944b-e07fc1f%05d", i*7919%100000))
		all[i].Took += time.Duration(i * 7919 % 100000)
		all[i].Started = all[i].Started.Add(time.Duration(i*104729) * time.Nanosecond)
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
// real server, its time included.
func BenchmarkFlush(b *testing.B) {
	w := newWorld(b)
	defer w.close()
	attempts := ordinary()
	l := New(w.js, w.names, Options{MaxBuffered: 1 << 30})
	const records = 10_000
	bytes := 0
	for i := range records {
		bytes += len(appendAttempt(nil, uint64(i), &attempts[i%len(attempts)]))
	}
	for b.Loop() {
		for i := range records {
			l.Attempt(uint64(i), attempts[i%len(attempts)])
		}
		must(b, l.Flush(context.Background()))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
	b.ReportMetric(float64(bytes)/records, "plainB/record")
	s, err := w.js.Stream(context.Background(), w.names.Attempts())
	must(b, err)
	b.ReportMetric(float64(s.CachedInfo().State.Bytes)/float64(b.N*records), "storedB/record")
}

// BenchmarkCompress is the share of compression.
func BenchmarkCompress(b *testing.B) {
	attempts := ordinary()
	var text []byte
	records := 0
	for ; len(text) < 16<<10; records++ {
		text = appendAttempt(text, uint64(1000+records), &attempts[records%len(attempts)])
	}
	packed := 0
	for b.Loop() {
		packed = len(s2.Encode(nil, text))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
	b.ReportMetric(float64(len(text))/float64(packed), "ratio")
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
