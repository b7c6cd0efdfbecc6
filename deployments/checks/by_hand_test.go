package checks

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"
)

// kubectl says what the deployment holds that the runbook asks for, and writes down
// what it is to run.
const kubectl = `#!/bin/sh
case "$*" in
run*) printf '%s\0' "$@" >> "$RAN"; printf '\n\0' >> "$RAN" ;;
*containers*.image*) printf popsee/webhooks:1.2.3 ;;
*NATS_URL*) printf "$DEPLOYED_NATS_URL" ;;
*) echo "kubectl $*" >&2; exit 1 ;;
esac
`

// TestTheRunbooksPodRunsAsWhomItIsTold pastes the runbook's commands for Kubernetes
// into a shell, makes the pods that kubectl would, and runs the program as the cluster
// would: what a replica may not, resume after an alarm, it may.
func TestTheRunbooksPodRunsAsWhomItIsTold(t *testing.T) {
	t.Parallel()
	server, _ := guarded(t)
	secrets := map[string]map[string]string{
		"nats-operator": {"user": "operator", "password": passwordOf("operator"), "inbox-prefix": "_INBOX_operator"},
		"nats-sys":      {"user": "sys", "password": passwordOf("sys")},
	}
	pods := byHand(t, server.url)
	if len(pods) != 3 {
		t.Fatalf("the runbook runs %d pods, want three: the program, and nats as two users", len(pods))
	}
	provision := contained(t, pods[0].Spec, secrets)
	provision.Args = []string{theBinary, "provision"}
	if out, err := provision.CombinedOutput(); err != nil {
		t.Fatalf("provision: %v\n%s", err, out)
	}
	for _, more := range [][]string{nil, {"provision", "--resume-from", "new"}} {
		resume := contained(t, pods[0].Spec, secrets)
		want := "would resume at stream sequence"
		if more != nil {
			resume.Args, want = append([]string{theBinary}, more...), "resumed: the next event"
		}
		if out, err := resume.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", resume.Args[1:], err, out)
		}
	}
	for i, want := range []string{"nats --inbox-prefix _INBOX_operator ", "nats server report jetstream"} {
		nats := pods[i+1].Spec.Containers[0]
		if got := strings.Join(nats.Command, " "); !strings.HasPrefix(got, want) {
			t.Errorf("pod %d runs %q, want %q", i+1, got, want)
		}
		if env := contained(t, pods[i+1].Spec, secrets).Env; !slices.Contains(env, "NATS_URL="+server.url) {
			t.Errorf("pod %d does not know where NATS is: %q", i+1, env)
		}
	}
}

// byHand runs the fence of the runbook that names kubectl, and gives the pods it makes.
func byHand(t *testing.T, natsURL string) (pods []*corev1.Pod) {
	t.Helper()
	page, err := os.ReadFile("../runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	fences := strings.Split(string(page), "\n```")
	i := slices.IndexFunc(fences, func(f string) bool { return strings.HasPrefix(f, "sh\n") && strings.Contains(f, "kubectl run") })
	if i < 0 {
		t.Fatal("the runbook has no commands for Kubernetes")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(kubectl), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	ran := filepath.Join(bin, "ran")
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.TrimPrefix(fences[i], "sh\n"))
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "RAN=" + ran, "DEPLOYED_NATS_URL=" + natsURL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the runbook's commands for Kubernetes: %v\n%s", err, out)
	}
	text, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	for run := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n\x00"), "\n\x00") {
		pods = append(pods, kubectlRun(t, strings.Split(strings.TrimSuffix(run, "\x00"), "\x00")))
	}
	return pods
}

// kubectlRun makes the pod that kubectl run does of a command line.
func kubectlRun(t *testing.T, args []string) *corev1.Pod {
	t.Helper()
	flags := map[string]string{}
	command := slices.Index(args, "--")
	if command < 0 {
		t.Fatalf("%q has no command", args)
	}
	for _, arg := range args[2:command] {
		name, value, _ := strings.Cut(arg, "=")
		flags[name] = value
	}
	for _, name := range []string{"--rm", "-i", "--command"} {
		if _, given := flags[name]; !given {
			t.Errorf("%q is without %s", args, name)
		}
	}
	if flags["--restart"] != "Never" || flags["--override-type"] != "strategic" {
		t.Errorf("%q starts again and again, or takes its name, image and command from what overrides them", args)
	}
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: args[1]},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: args[1], Image: flags["--image"], Command: args[command+1:]}}},
	}
	made, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(made, []byte(flags["--overrides"]), corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	pod = &corev1.Pod{}
	faults, err := kjson.UnmarshalStrict(merged, pod)
	if err := errors.Join(append(faults, err)...); err != nil {
		t.Fatalf("the cluster would not take it: %v\n%s", err, merged)
	}
	if len(pod.Spec.Containers) != 1 || pod.Spec.Containers[0].Image == "" {
		t.Fatalf("what overrides is meant for another container: %s", merged)
	}
	c := &pod.Spec.Containers[0]
	if c.Command[0] == "/webhooks" {
		c.Args = c.Command[1:] // the image's program
	}
	return pod
}
