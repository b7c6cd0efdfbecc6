package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// watched is a deployment as one Prometheus, which others share, sees it.
type watched struct {
	name    string
	labels  map[string]string // that scraping puts on its figures
	rules   string            // its file of alert rules
	alerts  []alert           // that stand in it
	queries map[string]string // that are asked for its sake -> by whom
}

// installed is a release of the chart.
func installed(t *testing.T, r release, more valuesOf) watched {
	t.Helper()
	values := valuesOf{"serviceMonitor": valuesOf{"enabled": true}, "prometheusRule": valuesOf{"enabled": true}, "keda": valuesOf{"enabled": true}}
	for key, value := range more {
		values[key] = value
	}
	got := r.render(t, values)
	w := watched{name: fmt.Sprint("the release ", r, more), labels: map[string]string{}}
	for _, l := range got["monitoring.coreos.com/v1 ServiceMonitor"].(*monitoring.ServiceMonitor).Spec.Endpoints[0].RelabelConfigs {
		if len(l.SourceLabels) > 0 || l.Action != "" || l.Replacement == nil {
			t.Fatalf("%s: nobody here can tell what the relabelling %+v does", w.name, l)
		}
		w.labels[l.TargetLabel] = *l.Replacement
	}
	rules, err := json.Marshal(got["monitoring.coreos.com/v1 PrometheusRule"].(*monitoring.PrometheusRule).Spec)
	if err != nil {
		t.Fatal(err)
	}
	w.read(t, rules)
	for _, trigger := range triggersOf(got) {
		if query := trigger.Metadata["query"]; query != "" {
			w.queries[query] = "KEDA"
		}
	}
	return w
}

// sedCopy has the rules that the page makes for the deployment eu, with another name in
// its place.
func sedCopy(t *testing.T, name string) watched {
	t.Helper()
	page, err := os.ReadFile("../scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile(`(?m)^sed '([^']+)' prometheus/alerts\.yml `).FindSubmatch(page)
	if script == nil {
		t.Fatal("scaling.md does not say how a deployment's rules are made")
	}
	rules, err := exec.CommandContext(t.Context(), "sed", strings.ReplaceAll(string(script[1]), "eu", name), alertsFile).Output()
	if err != nil {
		t.Fatal(err)
	}
	w := watched{name: "the copy for " + name, labels: map[string]string{"job": "webhooks", "deployment": name}}
	w.read(t, rules)
	return w
}

// unlabelled is a deployment whose figures bear no label of their own.
func unlabelled(t *testing.T) watched {
	t.Helper()
	rules, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	w := watched{name: "the file as it is", labels: map[string]string{"job": "webhooks"}}
	w.read(t, rules)
	return w
}

// read takes rules in, and has promtool look at them.
func (w *watched) read(t *testing.T, rules []byte) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal(rules, &file); err != nil {
		t.Fatal(err)
	}
	w.queries = map[string]string{}
	for _, g := range file.Groups {
		w.alerts = append(w.alerts, g.Rules...)
		for _, a := range g.Rules {
			w.queries[a.Expr] = a.Alert
		}
	}
	if want := len(alerts(t)); len(w.alerts) != want {
		t.Errorf("%s has %d alerts, want %d", w.name, len(w.alerts), want)
	}
	w.rules = filepath.Join(t.TempDir(), "alerts.yml")
	if err := os.WriteFile(w.rules, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "--lint=all", "--lint-fatal", w.rules).CombinedOutput(); err != nil {
		t.Errorf("%s: promtool: %v\n%s", w.name, err, out)
	}
}

// sees says whether a selector may find figures that bear these labels. What other
// labels it asks for, each deployment's figures have.
func sees(v *parser.VectorSelector, labels map[string]string) bool {
	for _, m := range v.LabelMatchers {
		if slices.Contains([]string{"job", "deployment"}, m.Name) && !m.Matches(labels[m.Name]) {
			return false
		}
	}
	return true
}

// TestDeploymentsOnOnePrometheusSeeTheirOwnFiguresAlone: releases side by side, of the
// same name in two namespaces, and in two clusters; copies of the rules; and the file
// as it stands, whose deployment has no label.
func TestDeploymentsOnOnePrometheusSeeTheirOwnFiguresAlone(t *testing.T) {
	all := []watched{
		installed(t, release{"popsee", "eu"}, nil),
		installed(t, release{"popsee", "us"}, nil),
		installed(t, release{"trial", "eu"}, nil),
		installed(t, release{"popsee", "eu"}, valuesOf{"deployment": "berlin"}),
		sedCopy(t, "eu"),
		sedCopy(t, "us"),
		unlabelled(t),
	}
	for _, w := range all {
		n := 0
		for query, by := range w.queries {
			for _, v := range selectorsOf(t, query, "") {
				n++
				for _, other := range all {
					if own := other.name == w.name; sees(v, other.labels) != own {
						t.Errorf("%s: %s asks for %s, which sees the figures of %s: %v, want %v", w.name, by, v, other.name, !own, own)
					}
				}
			}
		}
		if n < 37 {
			t.Errorf("%s has only %d selectors; is everything read?", w.name, n)
		}
		// Alertmanager takes alerts with the same labels for one, and one deployment's end for the other's.
		for _, a := range w.alerts {
			if a.Labels["deployment"] != w.labels["deployment"] {
				t.Errorf("%s: %s says that it is of %q, want %q", w.name, a.Alert, a.Labels["deployment"], w.labels["deployment"])
			}
		}
	}
	for expr, panel := range dashboard(t) {
		for _, v := range selectorsOf(t, expr, "popsee/eu") {
			if !sees(v, all[0].labels) || sees(v, all[1].labels) {
				t.Errorf("panel %q does not keep to the deployment that was chosen: %s", panel, v)
			}
		}
		for _, v := range selectorsOf(t, expr, ".*") {
			for _, w := range all {
				if !sees(v, w.labels) {
					t.Errorf("panel %q leaves out %s when all are chosen: %s", panel, w.name, v)
				}
			}
		}
	}
}

// healthy are the series of the first case of alerts_test.yml, which no alert minds.
func healthy(t *testing.T) (series map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Input []struct{ Series, Values string } `json:"input_series"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	series = map[string]string{}
	for _, in := range file.Tests[0].Input {
		series[in.Series] = in.Values
	}
	return series
}

// TestADeploymentInTroubleIsToldOfBesideAHealthyOne has promtool decide, with the rules
// of both in force.
func TestADeploymentInTroubleIsToldOfBesideAHealthyOne(t *testing.T) {
	for kind, two := range map[string][2]watched{
		"releases": {installed(t, release{"popsee", "eu"}, nil), installed(t, release{"popsee", "us"}, nil)},
		"copies":   {sedCopy(t, "eu"), sedCopy(t, "us")},
	} {
		for name, trouble := range map[string]struct {
			gone    bool              // the one in trouble shows nothing
			instead map[string]string // metric -> values of each of its series
			want    []string
		}{
			"none":                          {},
			"all its replicas are gone":     {gone: true, want: []string{"WebhooksMissing"}},
			"its figures are old":           {instead: map[string]string{"webhooks_last_look_timestamp_seconds": "0x30", "webhooks_streams_seen_timestamp_seconds": "0x30"}, want: []string{"WebhooksLagUnknown", "WebhooksStreamsUnseen"}},
			"its lanes have no owner":       {instead: map[string]string{"webhooks_shards_held": "0x30"}, want: []string{"WebhooksShardsWithoutOwner"}},
			"its hands are full":            {instead: map[string]string{"webhooks_in_flight": "2000x30"}, want: []string{"WebhooksSaturated"}},
			"nobody knows its limit":        {instead: map[string]string{"webhooks_store_limit_bytes": "0x30"}, want: []string{"WebhooksStoreLimitUnknown"}},
			"a third of its endpoints fail": {instead: map[string]string{"webhooks_endpoints_failing": "300x30"}, want: []string{"WebhooksManyEndpointsFail"}},
			"its lanes are full":            {instead: map[string]string{"webhooks_stream_bytes": "900x30"}, want: []string{"WebhooksStreamNearlyFull"}},
			"its replicas do not deliver":   {instead: map[string]string{"webhooks_ready": "0x30"}, want: []string{"WebhooksNotReady"}},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				type input struct {
					Series string `json:"series"`
					Values string `json:"values"`
				}
				var inputs []input
				for i, w := range two {
					for series, values := range healthy(t) {
						metric, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
						if i == 0 {
							if trouble.gone {
								continue
							}
							if instead, there := trouble.instead[metric]; there {
								values = instead
							}
						}
						if labels != "" {
							labels += ","
						}
						inputs = append(inputs, input{fmt.Sprintf("%s{%sdeployment=%q}", metric, labels, w.labels["deployment"]), values})
					}
				}
				want := []any{}
				for _, a := range trouble.want {
					want = append(want, map[string]any{"labels": fmt.Sprintf("{alertname=%q,deployment=%q}", a, two[0].labels["deployment"]), "value": 1})
				}
				at := "14m"
				if slices.Contains(trouble.want, "WebhooksStoreLimitUnknown") {
					at = "16m"
				}
				file, err := json.Marshal(map[string]any{
					"rule_files": []string{two[0].rules, two[1].rules}, "evaluation_interval": "1m",
					"tests": []any{map[string]any{
						"interval": "1m", "input_series": inputs,
						"promql_expr_test": []any{map[string]any{"expr": `count by (alertname, deployment) (ALERTS{alertstate="firing"})`, "eval_time": at, "exp_samples": want}},
					}},
				})
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "two.yml")
				if err := os.WriteFile(path, file, 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput(); err != nil {
					t.Errorf("promtool: %v\n%s", err, out)
				}
			})
		}
	}
}

// TestWhoeverScrapesByHimselfIsToldTheLabels: without them nothing of the release would
// be found.
func TestWhoeverScrapesByHimselfIsToldTheLabels(t *testing.T) {
	for want, values := range map[bool]valuesOf{
		true:  {"prometheusRule": valuesOf{"enabled": true}},
		false: {"prometheusRule": valuesOf{"enabled": true}, "serviceMonitor": valuesOf{"enabled": true}},
	} {
		files, err := release{"popsee", "eu"}.template(values)
		if err != nil {
			t.Fatal(err)
		}
		if notes := files["webhooks/templates/NOTES.txt"]; strings.Contains(notes, "deployment: popsee/eu") != want {
			t.Errorf("with %v the label is told: %v, want %v\n%s", values, !want, want, notes)
		}
	}
}
