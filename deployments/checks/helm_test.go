package checks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/webhooks"

// kinds are the types that rendered manifests are decoded into, as strictly as the
// cluster does: a field that it would not know, in this case, is an error.
var kinds = map[string]func() any{
	"apps/v1 Deployment":                      func() any { return new(appsv1.Deployment) },
	"batch/v1 Job":                            func() any { return new(batchv1.Job) },
	"v1 Service":                              func() any { return new(corev1.Service) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"keda.sh/v1alpha1 ScaledObject":           func() any { return new(keda.ScaledObject) },
}

type valuesOf = map[string]any

// everything switches on all that the chart has.
var everything = valuesOf{
	"keyringSecret": "webhooks-keys",
	"prefix":        "eu",
	"nats": valuesOf{
		"url": "tls://nats-1:4222,tls://nats-2:4222", "caSecret": "nats-ca", "monitors": []any{"http://nats-1:8222", "http://nats-2:8222"},
		"credsSecret": "nats-dispatcher", "provisionUserSecret": "nats-operator",
	},
	"env": valuesOf{"WEBHOOKS_MAX_IN_FLIGHT": "4000", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
	"networkPolicy": valuesOf{
		"metricsFrom": []any{valuesOf{"namespaceSelector": valuesOf{"matchLabels": valuesOf{"kubernetes.io/metadata.name": "monitoring"}}}},
		"natsTo":      []any{valuesOf{"podSelector": valuesOf{"matchLabels": valuesOf{"app.kubernetes.io/name": "nats"}}}},
		"extraEgress": []any{valuesOf{"ports": []any{valuesOf{"protocol": "TCP", "port": 4318}}}},
	},
	"serviceMonitor":   valuesOf{"enabled": true, "labels": valuesOf{"release": "prometheus"}},
	"prometheusRule":   valuesOf{"enabled": true},
	"keda":             valuesOf{"enabled": true},
	"imagePullSecrets": []any{valuesOf{"name": "registry"}},
	"nodeSelector":     valuesOf{"kubernetes.io/os": "linux"},
	"tolerations":      []any{valuesOf{"key": "dedicated", "operator": "Exists"}},
	"affinity":         valuesOf{"nodeAffinity": valuesOf{}},
	"podAnnotations":   valuesOf{"example.com/note": "yes"},
}

// release is what a chart is installed as; no two have the same name in one namespace.
type release struct{ namespace, name string }

// usual is what most tests install the chart as.
var usual = release{"popsee", "webhooks"}

func render(t *testing.T, values valuesOf) map[string]any {
	t.Helper()
	return usual.render(t, values)
}

func template(values valuesOf) (map[string]string, error) { return usual.template(values) }

// render is `helm template`, with each manifest decoded into its type.
func (r release) render(t *testing.T, values valuesOf) map[string]any {
	t.Helper()
	files, err := r.template(values)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for doc := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			kind, object, err := decode(doc)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			found[kind] = object
		}
	}
	return found
}

// template renders the chart's files, each under its name.
func (r release) template(values valuesOf) (map[string]string, error) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		return nil, err
	}
	merged, err := chartutil.ToRenderValues(chart, values, common.ReleaseOptions{Name: r.name, Namespace: r.namespace, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, merged)
}

func decode(doc string) (kind string, object any, err error) {
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
		return "", nil, fmt.Errorf("read its kind: %w", err)
	}
	kind = head.APIVersion + " " + head.Kind
	empty, known := kinds[kind]
	if !known {
		return kind, nil, fmt.Errorf("it is a %q, for which there is no type here", kind)
	}
	// Not in one step: yaml takes a field in any case, and a number where a string belongs.
	asJSON, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		return kind, nil, err
	}
	object = empty()
	faults, err := json.UnmarshalStrict(asJSON, object)
	return kind, object, errors.Join(append(faults, err)...)
}

func TestTheChartsManifestsAreReadAsTheClusterReadsThem(t *testing.T) {
	const budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: webhooks}\nspec:\n  maxUnavailable: 1\n"
	_, object, err := decode(budget)
	if err != nil {
		t.Fatal(err)
	}
	if got := object.(*policyv1.PodDisruptionBudget).Spec.MaxUnavailable.IntValue(); got != 1 {
		t.Errorf("maxUnavailable: 1 is read as %d", got)
	}
	for name, doc := range map[string]string{
		"a field in another case":             strings.Replace(budget, "maxUnavailable", "maxunavailable", 1),
		"its kind in another case":            strings.Replace(budget, "kind:", "Kind:", 1),
		"a field that does not exist":         budget + "  mostUnavailable: 1\n",
		"a field twice":                       budget + "  maxUnavailable: 1\n",
		"a field twice, once in another case": budget + "  maxunavailable: 1\n",
		"a number where a string belongs":     strings.Replace(budget, "name: webhooks", "name: 1", 1),
		"a kind that has no type here":        strings.Replace(budget, "policy/v1", "policy/v1beta1", 1),
	} {
		if _, _, err := decode(doc); err == nil {
			t.Errorf("%s: accepted\n%s", name, doc)
		}
	}
}

func TestTheChartHasNothingToComplainAbout(t *testing.T) {
	for name, values := range map[string]valuesOf{"defaults": nil, "everything": everything} {
		t.Run(name, func(t *testing.T) {
			result := lint.RunAll(chartDir, values, "popsee")
			for _, m := range result.Messages {
				if m.Severity >= support.WarningSev {
					t.Error(m)
				}
			}
		})
	}
}

func TestEveryManifestIsWhatTheClusterKnows(t *testing.T) {
	got := render(t, everything)
	for kind := range kinds {
		if got[kind] == nil {
			t.Errorf("everything is switched on, and there is no %s", kind)
		}
	}
	bare := render(t, valuesOf{"provision": false, "podDisruptionBudget": valuesOf{"enabled": false}, "networkPolicy": valuesOf{"enabled": false}})
	if len(bare) != 2 {
		t.Errorf("everything is switched off, and there are %d manifests, want the Deployment and its Service", len(bare))
	}
}

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	for name, values := range map[string]valuesOf{
		"no admin token":               {"adminTokenSecret": ""},
		"two copies of a stream":       {"streamReplicas": 2},
		"a key that is mistyped":       {"replicas": 3},
		"too short to drain":           {"terminationGracePeriodSeconds": 10},
		"a prefix that is no name":     {"prefix": "e.u"},
		"a prefix that is too long":    {"prefix": strings.Repeat("x", 33)},
		"a monitor without a scheme":   {"nats": valuesOf{"monitors": []any{"nats-1:8222"}}},
		"a deployment with a quote":    {"deployment": `e"u`},
		"KEDA's monitor with a scheme": {"keda": valuesOf{"natsMonitoring": "http://nats:8222"}},
		"KEDA without an account":      {"keda": valuesOf{"account": ""}},
		"two users of NATS":            {"nats": valuesOf{"credsSecret": "a", "userSecret": "b"}},
		"two users for the job":        {"nats": valuesOf{"provisionCredsSecret": "a", "provisionUserSecret": "b"}},
	} {
		if _, err := template(values); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestASettingThatTheChartMakesIsNotGivenTwice: the cluster refuses a variable that
// stands there twice, and older ones take the last.
func TestASettingThatTheChartMakesIsNotGivenTwice(t *testing.T) {
	for _, nats := range []valuesOf{
		{"credsSecret": "nats-user", "caSecret": "nats-ca", "monitors": []any{"http://nats-1:8222"}},
		{"userSecret": "nats-user"},
	} {
		values := valuesOf{"prefix": "eu", "keyringSecret": "webhooks-keys", "nats": nats, "env": valuesOf{"WEBHOOKS_LOG_FORMAT": "console"}}
		names := map[string]bool{}
		for _, e := range render(t, values)["apps/v1 Deployment"].(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Env {
			if names[e.Name] {
				t.Errorf("%s stands there twice", e.Name)
			}
			names[e.Name] = true
			if !slices.Contains(settings(), e.Name) {
				t.Errorf("the chart sets %s, which nobody reads", e.Name)
			}
			if e.Name == "WEBHOOKS_LOG_FORMAT" {
				continue // the chart has a default for it, and gives way
			}
			_, err := template(valuesOf{"env": valuesOf{e.Name: "1"}})
			if err == nil || !strings.Contains(err.Error(), "env."+e.Name+" would be set twice") {
				t.Errorf("env.%s is accepted: %v", e.Name, err)
			}
		}
	}
}

// TestThePodIsAsTightAsItCanBe holds what a reviewer would look for.
func TestThePodIsAsTightAsItCanBe(t *testing.T) {
	got := render(t, everything)
	for kind, pod := range map[string]corev1.PodSpec{
		"Deployment": got["apps/v1 Deployment"].(*appsv1.Deployment).Spec.Template.Spec,
		"Job":        got["batch/v1 Job"].(*batchv1.Job).Spec.Template.Spec,
	} {
		c := pod.Containers[0]
		s := c.SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Contains(s.Capabilities.Drop, "ALL") {
			t.Errorf("%s: the container may do more than it needs: %+v", kind, s)
		}
		if *pod.AutomountServiceAccountToken {
			t.Errorf("%s: it has a token of the cluster's API, and no use for it", kind)
		}
		for _, e := range c.Env {
			if slices.Contains([]string{"WEBHOOKS_ADMIN_TOKEN", "NATS_PASSWORD"}, e.Name) && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil) {
				t.Errorf("%s: %s stands in the manifest", kind, e.Name)
			}
		}
		mounted := map[string]bool{}
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
		for _, v := range pod.Volumes {
			if !mounted[v.Name] {
				t.Errorf("%s: volume %s is mounted nowhere", kind, v.Name)
			}
			delete(mounted, v.Name)
		}
		if len(mounted) > 0 {
			t.Errorf("%s: mounts without a volume: %v", kind, mounted)
		}
	}
}

// TestTheSelectorsSelect follows each selector to the pods it means.
func TestTheSelectorsSelect(t *testing.T) {
	got := render(t, everything)
	d := got["apps/v1 Deployment"].(*appsv1.Deployment)
	service := got["v1 Service"].(*corev1.Service)
	for name, selector := range map[string]map[string]string{
		"Deployment":          d.Spec.Selector.MatchLabels,
		"Service":             service.Spec.Selector,
		"PodDisruptionBudget": got["policy/v1 PodDisruptionBudget"].(*policyv1.PodDisruptionBudget).Spec.Selector.MatchLabels,
		"NetworkPolicy":       got["networking.k8s.io/v1 NetworkPolicy"].(*networkingv1.NetworkPolicy).Spec.PodSelector.MatchLabels,
	} {
		matches(t, name, selector, d.Spec.Template.Labels)
	}
	m := got["monitoring.coreos.com/v1 ServiceMonitor"].(*monitoring.ServiceMonitor)
	matches(t, "ServiceMonitor", m.Spec.Selector.MatchLabels, service.Labels)
	if m.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
		t.Errorf("the ServiceMonitor scrapes port %q, the Service has %q", m.Spec.Endpoints[0].Port, service.Spec.Ports[0].Name)
	}
	k := got["keda.sh/v1alpha1 ScaledObject"].(*keda.ScaledObject)
	if k.Spec.ScaleTargetRef.Name != d.Name || d.Spec.Replicas != nil {
		t.Errorf("KEDA scales %q, the Deployment is %q with replicas %v", k.Spec.ScaleTargetRef.Name, d.Name, d.Spec.Replicas)
	}
	if err := keda.CheckFallbackValid(k); err != nil {
		t.Error(err)
	}
}

func matches(t *testing.T, name string, selector, labels map[string]string) {
	t.Helper()
	if len(selector) == 0 {
		t.Errorf("%s selects everything", name)
	}
	for key, want := range selector {
		if labels[key] != want {
			t.Errorf("%s selects %s=%s, and the labels have %q", name, key, want, labels[key])
		}
	}
}

func TestTheProvisionJobIsAChoice(t *testing.T) {
	job := render(t, valuesOf{})["batch/v1 Job"].(*batchv1.Job)
	if job.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" || job.Spec.Template.Spec.Containers[0].Args[0] != "provision" {
		t.Errorf("the provision job is %v with %v", job.Annotations, job.Spec.Template.Spec.Containers[0].Args)
	}
	if without := render(t, valuesOf{"provision": false}); without["batch/v1 Job"] != nil {
		t.Error("provision is off, and there is a job")
	}
}

// TestTheChartsAlertsAreTheAlerts: a chart cannot read a file beside its folder.
func TestTheChartsAlertsAreTheAlerts(t *testing.T) {
	ours, err := os.ReadFile(filepath.Join(chartDir, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(ours) != string(all) {
		t.Errorf("%s/alerts.yml is not %s: copy it", chartDir, alertsFile)
	}
}
