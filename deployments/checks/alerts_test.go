package checks

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const alertsFile = "../prometheus/alerts.yml"

// alert is a rule as it stands in the file.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
	Labels      map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("there are %d alerts", len(all))
	}
	return all
}

func TestPromtoolTakesTheRulesAndTheirTests(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
		{"check", "config", "--syntax-only", "prometheus.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "../prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// ruleTests are the cases of alerts_test.yml: which alerts they want and do not want.
type ruleTests struct {
	Tests []struct {
		Name   string
		Alerts []struct {
			Name string            `json:"alertname"`
			Exp  []json.RawMessage `json:"exp_alerts"`
		} `json:"alert_rule_test"`
		Exprs []struct {
			Expr string
			Exp  []struct{ Value float64 } `json:"exp_samples"`
		} `json:"promql_expr_test"`
	}
}

// TestEachAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot holds the rules' own
// tests to the rules.
func TestEachAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	text, err := os.ReadFile("../prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file ruleTests
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	see := func(name string, firing bool) {
		if firing {
			fires[name] = true
		} else {
			silent[name] = true
		}
	}
	for _, c := range file.Tests {
		for _, a := range c.Alerts {
			see(a.Name, len(a.Exp) > 0)
		}
		for _, e := range c.Exprs {
			names := alertsNamedBy(t, e.Expr)
			sum := 0.0
			for _, sample := range e.Exp {
				sum += sample.Value
			}
			if len(names) == 0 || sum > 0 && (sum < float64(len(names)) || !strings.Contains(e.Expr, `alertstate="firing"`)) {
				t.Errorf("the case %q wants %v of %s, which names the alerts %v", c.Name, sum, e.Expr, names)
			}
			for _, name := range names {
				see(name, sum > 0)
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("in no case of alerts_test.yml does %s fire", a.Alert)
		}
		if !silent[a.Alert] {
			t.Errorf("in no case of alerts_test.yml is %s silent", a.Alert)
		}
	}
}

// alertsNamedBy are the alerts that an expression over ALERTS asks for.
func alertsNamedBy(t *testing.T, expr string) (names []string) {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok || v.Name != "ALERTS" {
			return nil
		}
		for _, m := range v.LabelMatchers {
			if m.Name != "alertname" {
				continue
			}
			for _, a := range alerts(t) {
				if m.Matches(a.Alert) {
					names = append(names, a.Alert)
				}
			}
		}
		return nil
	})
	return names
}

// TestEveryAlertHasItsHeading holds the runbook to the rules, both ways.
func TestEveryAlertHasItsHeading(t *testing.T) {
	text, err := os.ReadFile("../runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(s, "\n")
		sections[title] = body
	}
	for _, a := range alerts(t) {
		body := sections[a.Alert]
		for _, part := range []string{"**Means.**", "**Look at.**", "**Do.**"} {
			if !strings.Contains(body, part) {
				t.Errorf("the runbook's heading %s has no %s", a.Alert, part)
			}
		}
		if want := "deployments/runbook.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) {
			t.Errorf("%s links to %s, want …/%s", a.Alert, a.Annotations["runbook_url"], want)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		delete(sections, a.Alert)
	}
	for title := range sections {
		t.Errorf("the runbook has a heading %s, and there is no such alert", title)
	}
}

// selectorsOf are the selectors of an expression; chosen is what stands in a panel's
// for the deployment.
func selectorsOf(t *testing.T, expr, chosen string) (all []*parser.VectorSelector) {
	t.Helper()
	// What Grafana puts in its place before it asks.
	expr = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*", "$deployment", chosen).Replace(expr)
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return nil
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			all = append(all, v)
		}
		return nil
	})
	return all
}

// TestQueriesNameOnlyWhatIsThere compares the alerts, the dashboard and KEDA's
// query with what a fresh replica shows: whoever asks for what is not there hears
// nothing, for ever.
func TestQueriesNameOnlyWhatIsThere(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	s.awaitReady()
	shown := s.scrape()
	queries := map[string]string{} // query -> where
	for _, a := range alerts(t) {
		queries[a.Expr] = "alert " + a.Alert
	}
	for expr, panel := range dashboard(t) {
		queries[expr] = "panel " + panel
	}
	queries[scaled(t, everything)["prometheus"]["query"]] = "the ScaledObject"
	named := map[string]bool{}
	for expr, where := range queries {
		selectors := selectorsOf(t, expr, ".*")
		if len(selectors) == 0 {
			t.Errorf("%s asks for nothing: %s", where, expr)
		}
		for _, v := range selectors {
			name := v.Name
			named[name] = true
			if name != "up" && !shown.has(name) {
				t.Errorf("%s asks for %s, which the service does not show: %s", where, name, expr)
			}
		}
	}
	for name := range shown.families {
		if strings.HasPrefix(name, "webhooks_") && shown.families[name].GetHelp() == "" {
			t.Errorf("metric %s says nothing of itself", name)
		}
	}
	if len(named) < 40 {
		t.Errorf("only %d metrics are asked for; is everything read?", len(named))
	}
}

// TestMetricsAreNamedAsPrometheusWants has its own linter look at names, units and help.
func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	s.awaitReady()
	var ours []*dto.MetricFamily
	for name, f := range s.scrape().families {
		if strings.HasPrefix(name, "webhooks_") {
			ours = append(ours, f)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil || len(ours) < 40 {
		t.Fatalf("%d metrics: %v", len(ours), err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
}

// TestLabelsAreBounded holds what a fresh replica shows; the fault "events and
// endpoints that are no good" holds what traffic makes of it.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	s.awaitReady()
	wantBoundedLabels(t, s.scrape())
}

// wantBoundedLabels checks that no label names a survey or a host, which would be as
// many series as there are customers. strangers are parts of the names of those that
// the replica has met.
func wantBoundedLabels(t *testing.T, s scraped, strangers ...string) {
	t.Helper()
	allowed := []string{"reason", "outcome", "stream", "to", "version", "goversion", "le", "key", "place"} // of keys a ring has 16; the places are a closed list
	for name, f := range s.families {
		if !strings.HasPrefix(name, "webhooks_") {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(allowed, l.GetName()) {
					t.Errorf("metric %s has the label %s", name, l.GetName())
				}
				if slices.ContainsFunc(strangers, func(part string) bool { return strings.Contains(l.GetValue(), part) }) {
					t.Errorf("metric %s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
		if n := len(f.GetMetric()); n > 40 {
			t.Errorf("metric %s has %d series", name, n)
		}
	}
}

// dashboard gives the queries of every panel.
func dashboard(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../grafana/webhooks.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			Description string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, RefID string }
			Datasource  *struct{ UID string }
		}
		Templating struct {
			List []struct{ Name, Type string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids, exprs := map[int]bool{}, map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q has the id of another one", p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is %d wide at %d, of 24", p.Title, p.GridPos.W, p.GridPos.X)
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q lacks a description, a query or the dashboard's data source", p.Title)
		}
		for _, q := range p.Targets {
			exprs[q.Expr] = p.Title
		}
	}
	for _, want := range []string{"datasource", "job", "deployment"} {
		if !slices.ContainsFunc(d.Templating.List, func(v struct{ Name, Type string }) bool { return v.Name == want }) {
			t.Errorf("nobody can choose the dashboard's %s", want)
		}
	}
	if d.UID == "" || len(exprs) < 40 {
		t.Errorf("dashboard %q has %d queries", d.UID, len(exprs))
	}
	return exprs
}
