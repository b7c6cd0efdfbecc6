package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests whose names end in InShort run the real commands for seconds, so that
// none of them can rot. They ask nothing of times: CI machines have none to spare.

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(shared.dir)
		os.Exit(code)
	}))
}

// shared are the programs, built once for all tests.
var shared struct {
	once sync.Once
	dir  string
	err  error
}

func built(t *testing.T) string {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	shared.once.Do(func() { shared.dir, shared.err = programs(context.WithoutCancel(t.Context())) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.dir
}

func TestThePathBenchmarkInShort(t *testing.T) {
	bin := built(t)
	if err := buildWatermill(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]pathCommand{
		plainHTTP: {TLS: plainHTTP},
		http1:     {TLS: http1, Only: []string{limitName, "service"}},
		http2:     {TLS: http2},
	} {
		t.Run(name, func(t *testing.T) {
			c.Rounds, c.Events, c.Surveys, c.Rate, c.Workers, c.Sync = 1, 5000, 100, 500, 64, "2m"
			c.Warm, c.Measure, c.Grace = 500*time.Millisecond, time.Second, 10*time.Second
			all, err := c.turns(t.Context(), bin)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if f.Missing > 0 || f.Rate == 0 || f.P99 == 0 {
					t.Errorf("%s: %d events are missing, %.0f/s, p99 %.2f ms; want all, and figures", f.Consumer, f.Missing, f.Rate, f.P99)
				}
			}
			if want := []int{4, 2}[len(c.Only)/2]; len(all) != want {
				t.Errorf("%d consumers have had their turn, want %d", len(all), want)
			}
			t.Logf("\n%s\n%s", pathTable(all).Render(), verdicts(c.asked(all)))
		})
	}
}

func TestTheHostsBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := hostsCommand{Hosts: 500, Passes: 4, Rounds: 1, Grace: 10 * time.Second, Sync: "2m"}
	all, err := c.runs(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	text := c.text(all)
	for _, r := range all {
		if r.Missing > 0 || len(r.Failed) > 0 {
			t.Errorf("to %d hosts %d events are missing, and these attempts failed: %v", r.Hosts, r.Missing, r.Failed)
		}
	}
	if !strings.Contains(text, "| 500 |") || !strings.Contains(text, "descriptors of the service") {
		t.Errorf("the report has no row of 500 hosts, or no verdict:\n%s", text)
	}
	t.Log("\n" + text)
}

func TestTheStartupBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := startupCommand{Starts: 1, Endpoints: 2000}
	r, err := c.report(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Empty) != 1 || len(r.Again) != 1 || len(r.Loads) != 2 {
		t.Errorf("got %+v, want a start with nothing, one after it, and two with endpoints", r)
	}
	for _, l := range r.Loads {
		if l.Ready == 0 || l.Most < l.RSS {
			t.Errorf("%+v is no measurement", l)
		}
	}
	t.Log("\n" + r.text())
}

func TestTheMemoryBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := memoryCommand{Lanes: 1000, Events: 4000, Settle: time.Second, Watch: time.Second, Sync: "2m"}
	r, err := c.measure(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Restarts) != 1 || r.Restarts[0].Missing > 0 {
		t.Errorf("got restarts %+v, want one after which every shard delivers", r.Restarts)
	}
	t.Log("\n" + r.text())
}

func TestAVerdictSaysWhetherWhatIsAskedIsMet(t *testing.T) {
	zero := 0.0
	for name, c := range map[string]struct {
		a    asked
		want string
	}{
		"enough":     {atLeast("rate", 0.9, 0.85), "rate: 0.90, at least 0.85 is asked: met"},
		"too little": {atLeast("rate", 0.8, 0.85), "rate: 0.80, at least 0.85 is asked: NOT met"},
		"too much":   {atMost("MiB", 500, 400), "MiB: 500, at most 400 is asked: NOT met"},
		"nothing":    {atLeast("rate", zero/zero, 0.85), "rate: NaN, at least 0.85 is asked: NOT met"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.a.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := unmet([]asked{c.a}); (got == nil) != strings.HasSuffix(c.want, ": met") {
				t.Errorf("as an error: %v", got)
			}
		})
	}
}
