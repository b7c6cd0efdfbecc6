package checks

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scraped is what one scrape brought.
type scraped struct {
	at       time.Time
	families map[string]*dto.MetricFamily // nil: the replica did not answer
}

// readMetrics scrapes as Prometheus does.
func readMetrics(t *testing.T, address string) scraped {
	t.Helper()
	s := scraped{at: time.Now()}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if s.families, err = parser.TextToMetricFamilies(io.LimitReader(resp.Body, 16<<20)); err != nil {
		t.Fatal(err)
	}
	return s
}

// has says whether a metric is shown, or is a part of one.
func (s scraped) has(name string) bool {
	if s.families[name] != nil {
		return true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, cut := strings.CutSuffix(name, part); cut && s.families[base].GetType() == dto.MetricType_HISTOGRAM {
			return true
		}
	}
	return false
}

// value is the sum of a metric's series.
func (s scraped) value(name string) (sum float64) {
	for _, m := range s.families[name].GetMetric() {
		sum += valueOf(m)
	}
	return sum
}

func valueOf(m *dto.Metric) float64 {
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
}

// series are the values of a scrape under the names Prometheus would store them
// with. Histograms stay out: no alert reads one.
func (s scraped) series(instance string) map[string]float64 {
	up := 0.0
	if s.families != nil {
		up = 1
	}
	all := map[string]float64{fmt.Sprintf("up{instance=%q,job=%q}", instance, "webhooks"): up}
	for name, f := range s.families {
		if !strings.HasPrefix(name, "webhooks_") || f.GetType() == dto.MetricType_HISTOGRAM {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := []string{fmt.Sprintf("instance=%q", instance), `job="webhooks"`}
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			all[name+"{"+strings.Join(labels, ",")+"}"] = valueOf(m)
		}
	}
	return all
}

// What a rule sees: the first scrape, repeated for a while, and then the last one,
// repeated for longer than any rule waits. The last one keeps its real time.
const (
	step   = 30 * time.Second
	before = 30 // steps, 15 minutes
	after  = 50 // steps, 25 minutes
)

// firing gives the alerts that fire, at any time, on what was scraped before and
// after something happened. A time that went on between two looks at the same
// state, next and last, goes on.
func firing(t *testing.T, instance string, first, next, last scraped) []string {
	t.Helper()
	a, b, c := first.series(instance), next.series(instance), last.series(instance)
	names := maps.Clone(a)
	maps.Copy(names, c)
	type input struct {
		Series string `json:"series"`
		Values string `json:"values"`
	}
	var inputs []input
	for _, name := range slices.Sorted(maps.Keys(names)) {
		v, there := a[name]
		values := fmt.Sprintf("_x%d", before)
		if there {
			values = repeated(v, 0, before-1)
		}
		switch w, stays := c[name]; {
		case !stays:
			values += " stale"
		case strings.Contains(name, "_timestamp_seconds{") && w > b[name]:
			values += " " + repeated(w, step.Seconds(), after-1)
		default:
			values += " " + repeated(w, 0, after-1)
		}
		inputs = append(inputs, input{name, values})
	}
	rules, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	// promtool compares with what is expected and shows what it got instead: an
	// expectation that cannot be met makes it tell.
	ask := fmt.Sprintf(`count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[%ds:%ds]))`, int((before+after)*step.Seconds()), int(step.Seconds()))
	file, err := json.Marshal(map[string]any{
		"rule_files": []string{rules}, "evaluation_interval": step.String(),
		"tests": []any{map[string]any{
			"interval": step.String(), "input_series": inputs,
			"start_timestamp":  last.at.Add(-before * step).UTC().Format(time.RFC3339),
			"promql_expr_test": []any{map[string]any{"expr": ask, "eval_time": ((before + after - 1) * step).String(), "exp_samples": []any{map[string]any{"labels": `{alertname="none"}`, "value": -1}}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "scraped.yml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "got:") {
		t.Fatalf("promtool did not tell what fires: %v\n%s", err, out)
	}
	_, got, _ := strings.Cut(string(out), "got:")
	var alerts []string
	for _, part := range strings.Split(got, `alertname="`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		alerts = append(alerts, name)
	}
	slices.Sort(alerts)
	return slices.Compact(alerts)
}

// repeated is a value and n more in promtool's notation, each larger by add.
func repeated(v, add float64, n int) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return fmt.Sprintf("%s+%sx%d", number(v), number(add), n)
}
