package events

import (
	_ "embed"
	"slices"
)

//go:embed event.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 7) of an event, for those who publish in
// other languages. It describes what receivers are promised, and so refuses some
// events that [Names.Decode] lets pass: ones whose answers are not a list, for
// example.
func Schema() []byte { return slices.Clone(schema) }

//go:embed asyncapi.yaml
var asyncAPI []byte

// AsyncAPI returns the AsyncAPI 3 document of publishing: subjects, headers and
// the rule by which repeated publishes are recognised. It refers to the schema as
// event.schema.json.
func AsyncAPI() []byte { return slices.Clone(asyncAPI) }
