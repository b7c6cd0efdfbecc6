package checks

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/popsee/webhooks/events"
)

// parameter is what KEDA says of one key that a trigger may have.
type parameter struct {
	Name         string `json:"name"`
	Optional     bool   `json:"optional"`
	Default      any    `json:"default"`
	FromMetadata bool   `json:"metadataVariableReadable"`
}

// scalers are the keys that each of KEDA's triggers knows. KEDA makes this list from
// its scalers' own types, and ships it in the module that its types come from; the
// scalers themselves would bring the clients of three clouds along.
func scalers(t *testing.T) map[string][]parameter {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema", "generated", "scalers-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Scalers []struct {
			Type       string      `json:"type"`
			Parameters []parameter `json:"parameters"`
		} `json:"scalers"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	known := map[string][]parameter{}
	for _, s := range list.Scalers {
		known[s.Type] = s.Parameters
	}
	return known
}

// misread says what KEDA would make something else of. It passes over a key that
// it does not know, and takes its default for the one that was meant.
func misread(known []parameter, metadata map[string]string) (all []string) {
	for key := range metadata {
		if !slices.ContainsFunc(known, func(p parameter) bool { return p.Name == key && p.FromMetadata }) {
			all = append(all, "KEDA does not know "+key)
		}
	}
	for _, p := range known {
		if _, given := metadata[p.Name]; !given && !p.Optional && p.Default == nil {
			all = append(all, "KEDA needs "+p.Name)
		}
	}
	return all
}

// scaled renders the chart's triggers, each under its type.
func scaled(t *testing.T, values valuesOf) map[string]map[string]string {
	t.Helper()
	got := map[string]map[string]string{}
	for _, trigger := range triggersOf(render(t, values)) {
		got[trigger.Type] = trigger.Metadata
	}
	return got
}

func triggersOf(rendered map[string]any) []keda.ScaleTriggers {
	return rendered["keda.sh/v1alpha1 ScaledObject"].(*keda.ScaledObject).Spec.Triggers
}

func TestTheChartsTriggersHaveTheKeysThatKEDAKnows(t *testing.T) {
	known := scalers(t)
	triggers := scaled(t, everything)
	if len(triggers) != 2 {
		t.Errorf("KEDA is given %v, want the consumer's lag and the lanes' depth", slices.Collect(maps.Keys(triggers)))
	}
	for kind, metadata := range triggers {
		for _, mistake := range misread(known[kind], metadata) {
			t.Errorf("trigger %s: %s", kind, mistake)
		}
		for key := range metadata {
			mistyped := maps.Clone(metadata)
			delete(mistyped, key)
			mistyped[strings.ToUpper(key)] = metadata[key]
			if len(misread(known[kind], mistyped)) == 0 {
				t.Errorf("trigger %s: nobody would see that %s is mistyped", kind, key)
			}
		}
	}
}

// TestTheChartsTriggersAskForWhatThereIs compares what KEDA looks at with what a
// deployment of these values makes on NATS.
func TestTheChartsTriggersAskForWhatThereIs(t *testing.T) {
	for _, prefix := range []string{"", "eu", "1000000"} {
		t.Run("prefix "+strconv.Quote(prefix), func(t *testing.T) {
			names, err := events.NewNames(prefix)
			if err != nil {
				t.Fatal(err)
			}
			values := valuesOf{"prefix": prefix, "keda": valuesOf{
				"enabled": true, "natsMonitoring": "nats-0.nats:8222", "account": "WEBHOOKS", "prometheus": "http://prometheus:9090",
				// As YAML gives them: numbers of this size are not to become 3e+06.
				"lag": 3_000_000.0, "laneDepth": 4_000_000.0,
			}}
			got := scaled(t, values)
			for kind, want := range map[string]map[string]string{
				"nats-jetstream": {
					"natsServerMonitoringEndpoint": "nats-0.nats:8222", "account": "WEBHOOKS", "stream": names.Stream(), "consumer": names.Consumer(),
					"lagThreshold": "3000000", "activationLagThreshold": "1",
				},
				"prometheus": {
					"serverAddress": "http://prometheus:9090", "query": `sum(webhooks_lane_events{deployment="popsee/webhooks"})`, "threshold": "4000000", "activationThreshold": "1", "ignoreNullValues": "false",
				},
			} {
				if !maps.Equal(got[kind], want) {
					t.Errorf("trigger %s is\n%v, want\n%v", kind, got[kind], want)
				}
			}
			rendered := render(t, values)
			for kind, pod := range map[string]corev1.PodSpec{
				"Deployment": rendered["apps/v1 Deployment"].(*appsv1.Deployment).Spec.Template.Spec,
				"Job":        rendered["batch/v1 Job"].(*batchv1.Job).Spec.Template.Spec,
			} {
				set := ""
				for _, e := range pod.Containers[0].Env {
					if e.Name == "WEBHOOKS_PREFIX" {
						set = e.Value
					}
				}
				if set != prefix {
					t.Errorf("the %s works under the prefix %q, want %q", kind, set, prefix)
				}
			}
		})
	}
}
