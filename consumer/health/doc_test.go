package health

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/popsee/webhooks/events"
)

// TestThePlatformsPageDescribesTheRecordAsItIs holds deployments/health.md, by
// which others program, against the type.
func TestThePlatformsPageDescribesTheRecordAsItIs(t *testing.T) {
	page, err := os.ReadFile("../../deployments/health.md")
	must(t, err)
	shown := map[string]bool{}
	examples := fenced(string(page), "json")
	if len(examples) != 2 {
		t.Fatalf("%d examples, want 2", len(examples))
	}
	for _, example := range examples {
		dec := json.NewDecoder(strings.NewReader(example))
		dec.DisallowUnknownFields()
		var r Record
		must(t, dec.Decode(&r))
		if r.Format != events.Format {
			t.Errorf("an example of format %q", r.Format)
		}
		if r, err := decode([]byte(example)); err != nil || r.nothing() {
			t.Errorf("an example that nobody would write or read: %+v, %v", r, err)
		}
		note(t, []byte(example), shown)
		// Written again it is the same: no field is of another type than it looks.
		if got, want := plain(t, encode(r)), plain(t, []byte(example)); !reflect.DeepEqual(got, want) {
			t.Errorf("an example is written as\n%v, and reads\n%v", got, want)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Record](), reflect.TypeFor[Disabled]()} {
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !shown[name] {
				t.Errorf("no example shows %s", name)
			}
			if !bytes.Contains(page, []byte("| `"+name+"` |")) {
				t.Errorf("no line explains %s", name)
			}
		}
	}
	for _, by := range []string{ByEndpoint, ByService} {
		if !bytes.Contains(page, []byte("`by` is `"+by+"`")) {
			t.Errorf("nothing is said of what to tell when an endpoint was disabled by %s", by)
		}
	}
}

// fenced are the code blocks of a language on a page.
func fenced(page, language string) (blocks []string) {
	for {
		_, rest, found := strings.Cut(page, "\n```"+language+"\n")
		if !found {
			return blocks
		}
		block, after, _ := strings.Cut(rest, "\n```\n")
		blocks, page = append(blocks, block), after
	}
}

// note notes the names of a JSON object's members, and of those within them.
func note(t *testing.T, object []byte, names map[string]bool) {
	t.Helper()
	var members map[string]json.RawMessage
	must(t, json.Unmarshal(object, &members))
	for name, value := range members {
		names[name] = true
		if value[0] == '{' {
			note(t, value, names)
		}
	}
}

func plain(t *testing.T, object []byte) (v any) {
	t.Helper()
	must(t, json.Unmarshal(object, &v))
	return v
}
