package layout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		have, want string
		covers     bool
	}{
		{"a.b", "a.b", true},
		{"a.*", "a.b", true},
		{"a.*", "a.*", true},
		{"a.*", "a.>", false},
		{"a.>", "a.>", true},
		{"a.>", "a.*", true},
		{"a.>", "a", false},
		{">", "a.b.c", true},
		{"a.b", "a.*", false},
		{"a", "a.b", false},
		{"a.b.c", "a.b", false},
	} {
		if got := Covers(c.have, c.want); got != c.covers {
			t.Errorf("covers(%q, %q) = %v", c.have, c.want, got)
		}
	}
}

func TestAFilterIsSetOnlyWhereTheStreamHoldsMoreThanOurs(t *testing.T) {
	ours := []string{"responses.completed", "responses.completed.*"}
	for _, c := range []struct{ stream, want []string }{
		{ours, nil},
		{[]string{"responses.completed.*"}, nil},
		{[]string{"responses.>"}, ours},
		{append([]string{"responses.started"}, ours...), ours},
	} {
		got := Filters(jetstream.StreamConfig{Subjects: c.stream}, ours)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("on %v (-want +got):\n%s", c.stream, diff)
		}
	}
}

func TestASearchKeepsToWhatTheStreamCanHold(t *testing.T) {
	for name, c := range map[string]struct {
		stream, ours, want []string
		some               bool
	}{
		"everything":  {[]string{"a.*"}, nil, nil, true},
		"all of ours": {[]string{"a", "a.*"}, []string{"a", "a.s1"}, []string{"a", "a.s1"}, true},
		"a part":      {[]string{"a.*"}, []string{"a", "a.s1"}, []string{"a.s1"}, true},
		"nothing":     {[]string{"b.>"}, []string{"a", "a.s1"}, nil, false},
	} {
		got, some := Within(jetstream.StreamConfig{Subjects: c.stream}, c.ours)
		if diff := cmp.Diff(c.want, got); diff != "" || some != c.some {
			t.Errorf("%s: %v (-want +got):\n%s", name, some, diff)
		}
	}
}
