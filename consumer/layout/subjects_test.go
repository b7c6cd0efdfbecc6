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
