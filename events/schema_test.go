package events_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/popsee/webhooks/events"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(events.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("event.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, body string) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return schema.Validate(v)
}

// decode is what the service thinks of a body.
func decode(body string) error {
	_, err := events.Names{}.Decode("responses.completed", nil, []byte(body))
	return err
}

const smallest = `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"},"response":{"id":"r1"}}`

func swap(old, replacement string) string { return strings.Replace(smallest, old, replacement, 1) }

func TestSchemaAndServiceAcceptTheSame(t *testing.T) {
	schema := compileSchema(t)
	table := map[string]string{
		"the smallest":       smallest,
		"unknown fields":     swap(`"event"`, `"more":{"a":[1]},"event"`),
		"a time with a zone": swap("12:00:00Z", "12:00:00.123456789+05:30"),
		"the longest survey": swap("s1", strings.Repeat("s", 128)),
		"the longest id":     swap("r1", strings.Repeat("~", 128)),
	}
	for name, body := range table {
		if err := validate(t, schema, body); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
		if err := decode(body); err != nil {
			t.Errorf("%s: the service refuses it: %v", name, err)
		}
	}
}

func TestSchemaAndServiceRefuseTheSame(t *testing.T) {
	schema := compileSchema(t)
	table := map[string]string{
		"an array": `[]`, "null": `null`, "empty": `{}`,
		"no event": swap(`"event":"response.completed",`, ""), "another event": swap("response.completed", "response.started"),
		"no time": swap(`"timestamp":"2024-01-22T12:00:00Z",`, ""), "a number for a time": swap(`"2024-01-22T12:00:00Z"`, "1705924800"),
		"a time without a zone": swap("00Z", "00"), "a date alone": swap("T12:00:00Z", ""), "a 13th month": swap("2024-01", "2024-13"),
		"a 30th of February": swap("01-22", "02-30"), "an hour 24": swap("T12", "T24"), "a blank for T": swap("T12", " 12"),
		"a survey that is text": swap(`{"id":"s1"}`, `"s1"`), "no survey id": swap(`{"id":"s1"}`, `{}`), "an empty survey id": swap("s1", ""),
		"a survey with a dot": swap("s1", "s.1"), "a survey too long": swap("s1", strings.Repeat("s", 129)), "a number for a survey": swap(`"s1"`, "1"),
		"no response": swap(`,"response":{"id":"r1"}`, ""), "an empty response id": swap("r1", ""), "a blank in the id": swap("r1", "r 1"),
		"an id that is no ASCII": swap("r1", "é"), "an id too long": swap("r1", strings.Repeat("r", 129)),
	}
	for name, body := range table {
		if validate(t, schema, body) == nil {
			t.Errorf("%s: the schema accepts %s", name, body)
		}
		if decode(body) == nil {
			t.Errorf("%s: the service accepts %s", name, body)
		}
	}
}

// What the Go type encodes with every field set is what the schema describes, and
// the schema describes nothing that the type lacks.
func TestTheGoTypeIsTheSchemas(t *testing.T) {
	at := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	body, err := events.ResponseCompleted{
		Timestamp: at, Origin: "web", Survey: events.SurveyRef{ID: "s1", Name: "Satisfaction"},
		Response: events.SurveyResponse{
			ID: "r1", Answers: []events.Answer{{QuestionID: "q1", Value: 9}}, CustomParams: map[string]string{"plan": "pro"}, CompletedAt: at, PageURL: "https://example.com/",
		},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, compileSchema(t), string(body)); err != nil {
		t.Error(err)
	}
	var encoded map[string]any
	var described node
	if err := json.Unmarshal(body, &encoded); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(events.Schema(), &described); err != nil {
		t.Fatal(err)
	}
	compareFields(t, "event", encoded, described)
}

// node is a part of the schema, as far as it names fields.
type node struct {
	Properties map[string]node `json:"properties"`
	Items      *node           `json:"items"`
}

func compareFields(t *testing.T, at string, value any, n node) {
	t.Helper()
	if list, ok := value.([]any); ok && n.Items != nil {
		compareFields(t, at+"[]", list[0], *n.Items)
		return
	}
	object, ok := value.(map[string]any)
	if !ok || n.Properties == nil {
		return
	}
	for name := range object {
		if _, ok := n.Properties[name]; !ok {
			t.Errorf("%s.%s is encoded and not described", at, name)
		}
	}
	for name, sub := range n.Properties {
		v, ok := object[name]
		if !ok {
			t.Errorf("%s.%s is described and not encoded", at, name)
			continue
		}
		compareFields(t, at+"."+name, v, sub)
	}
}

// document is the part of the AsyncAPI document that names things.
type document struct {
	Channels map[string]struct {
		Address     string `yaml:"address"`
		Description string `yaml:"description"`
	} `yaml:"channels"`
	Components struct {
		Messages map[string]struct {
			Name    string `yaml:"name"`
			Headers struct {
				Properties map[string]struct {
					Description string `yaml:"description"`
				} `yaml:"properties"`
				Required []string `yaml:"required"`
			} `yaml:"headers"`
			Payload struct {
				Schema struct {
					Ref string `yaml:"$ref"`
				} `yaml:"schema"`
			} `yaml:"payload"`
			Examples []struct {
				Headers map[string]string `yaml:"headers"`
				Payload map[string]any    `yaml:"payload"`
			} `yaml:"examples"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

// TestTheAsyncAPIDocumentNamesWhatTheCodeNames holds the document to names.go and
// to the schema; a public validator checks its form, see deployments/publishing.
func TestTheAsyncAPIDocumentNamesWhatTheCodeNames(t *testing.T) {
	var d document
	if err := yaml.Unmarshal(events.AsyncAPI(), &d); err != nil {
		t.Fatal(err)
	}
	var n events.Names
	var addresses []string
	for name, c := range d.Channels {
		addresses = append(addresses, strings.Replace(c.Address, "{survey}", "*", 1))
		if !strings.Contains(c.Description, n.Stream()) {
			t.Errorf("channel %s does not name the stream", name)
		}
	}
	slices.Sort(addresses)
	if !slices.Equal(addresses, n.Subjects()) {
		t.Errorf("the document's subjects are %v, the stream's %v", addresses, n.Subjects())
	}
	m := d.Components.Messages["responseCompleted"]
	if m.Name != events.KindCompleted || m.Payload.Schema.Ref != "./event.schema.json" {
		t.Errorf("the message is %s with the schema %s", m.Name, m.Payload.Schema.Ref)
	}
	if !slices.Equal(m.Headers.Required, []string{jetstream.MsgIDHeader}) {
		t.Errorf("required headers: %v", m.Headers.Required)
	}
	for _, name := range []string{jetstream.MsgIDHeader, "traceparent", "tracestate"} {
		if m.Headers.Properties[name].Description == "" {
			t.Errorf("the header %s is not described", name)
		}
	}
	for _, e := range m.Examples {
		body, err := json.Marshal(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got, err := n.Decode(n.Subjects()[0], nil, body)
		if err != nil || got.ID != e.Headers[jetstream.MsgIDHeader] {
			t.Errorf("example %s: %v", body, err)
		}
	}
}
