package delivery

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/events"
)

// benchEvent is a usual event: 1 KB.
func benchEvent() events.Event {
	return events.Event{
		ID: "7c9e6679-7425-40de-944b-e07fc1f90ae7", Kind: events.KindCompleted, Survey: "s1", Time: time.Unix(1700000000, 0),
		Body: bytes.Repeat([]byte(`{"a":"bcdefghi"}`), 64),
	}
}

func BenchmarkSign(b *testing.B) {
	body := benchEvent().Body
	secret := mustSecret(b, strings.Repeat("s", 32))
	b.Run("once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Sign(secret, body)
		}
	})
	b.Run("kept state", func(b *testing.B) {
		b.ReportAllocs()
		k := newKey(secret.text())
		for b.Loop() {
			k.popsee(body)
		}
	})
	b.Run("standard", func(b *testing.B) {
		b.ReportAllocs()
		k := newKey(secret.text())
		line := make([]byte, 0, 64)
		for b.Loop() {
			line = k.standard(line[:0], "7c9e6679-7425-40de-944b-e07fc1f90ae7", 1700000000, body)
		}
	})
}

// BenchmarkPrepare is what an attempt costs before anything is sent: the headers, two signatures and the request as it is written.
func BenchmarkPrepare(b *testing.B) {
	client, target := benchWorld(b)
	e := benchEvent()
	var request []byte
	b.ReportAllocs()
	for b.Loop() {
		c := &call{client: client, target: target, event: e}
		c.signed = c.headers.build(target, &c.event, Meta{Number: 1}, time.Now())
		request = append(c.appendHead(request[:0]), e.Body...)
	}
}

// BenchmarkSend compares an attempt with the least that could be done with net/http: a transport, the same
// signatures, a header and a context with a deadline. Compare the ratio, not the figures: receiver and client share
// the machine.
func BenchmarkSend(b *testing.B) {
	for _, parallel := range []int{1, 32} {
		name := map[int]string{1: "one at a time", 32: "32 in flight"}[parallel]
		b.Run(name+"/bare", func(b *testing.B) { benchBare(b, parallel) })
		b.Run(name+"/send", func(b *testing.B) { benchSend(b, parallel) })
	}
}

func benchSend(b *testing.B, parallel int) {
	client, target := benchWorld(b)
	e := benchEvent()
	benchLoop(b, parallel, func() bool {
		return client.Send(b.Context(), target, e, Meta{Number: 1}).Verdict == Delivered
	})
}

func benchBare(b *testing.B, parallel int) {
	_, target := benchWorld(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	e := benchEvent()
	key := newKey(strings.Repeat("s", 32))
	benchLoop(b, parallel, func() bool {
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.url.String(), bytes.NewReader(e.Body))
		if err != nil {
			return false
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "Popsee-Webhooks/dev")
		r.Header.Set(HeaderEvent, e.Kind)
		r.Header.Set(HeaderDelivery, e.ID)
		r.Header.Set(HeaderAttempt, "1")
		r.Header.Set(HeaderSignature, key.popsee(e.Body))
		r.Header.Set(HeaderStandardID, e.ID)
		r.Header.Set(HeaderStandardTimestamp, "1700000000")
		r.Header.Set(HeaderStandardSignature, string(key.standard(nil, e.ID, 1700000000, e.Body)))
		response, err := transport.RoundTrip(r)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err == nil && response.StatusCode == http.StatusOK
	})
}

func benchLoop(b *testing.B, parallel int, once func() bool) {
	b.ReportAllocs()
	b.SetParallelism(parallel)
	if !once() {
		b.Fatal("the first attempt was not delivered")
	}
	if parallel == 1 {
		for b.Loop() {
			if !once() {
				b.Fatal("an attempt was not delivered")
			}
		}
		return
	}
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if !once() {
				b.Error("an attempt was not delivered")
			}
		}
	})
}

func benchWorld(b *testing.B) (*Client, *Target) {
	listener, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	client, err := NewClient(Options{Rules: Rules{AllowInsecure: true}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	target, err := NewTarget(TargetSpec{
		Survey: "s1", URL: "http://" + listener.Addr().String() + "/hook",
		Secrets: []SecretSpec{{Secret: mustSecret(b, strings.Repeat("s", 32))}},
	}, Rules{AllowInsecure: true})
	if err != nil {
		b.Fatal(err)
	}
	return client, target
}
