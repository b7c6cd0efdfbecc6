package config_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

const (
	keyID   = `"key_id":"0123456789abcdef"`
	minimal = `{"url":"https://example.com/hook","enabled":true}`
)

var someSealed = strings.Repeat("QUJD", 30)

// with puts more fields into a minimal endpoint.
func with(fields string) string { return minimal[:len(minimal)-1] + "," + fields + "}" }

func validEndpoints() map[string]string {
	one := `{"key_id":"0123456789abcdef","sealed":"` + someSealed + `"}`
	old := `{"key_id":"fedcba9876543210","sealed":"` + someSealed + `","expires_at":"2026-05-01T00:00:00Z"}`
	return map[string]string{
		"minimal":              minimal,
		"switched off":         `{"url":"https://example.com","enabled":false}`,
		"port, path and query": `{"url":"https://example.com:8443/a/b%20c@d?e=f&g=h:i@j","enabled":true}`,
		"upper-case scheme":    `{"url":"HTTPS://example.com/","enabled":true}`,
		"no secrets":           with(`"secrets":[]`),
		"one secret":           with(`"secrets":[` + one + `]`),
		"a rotation":           with(`"secrets":[` + one + `,` + old + `]`),
		"eight secrets":        with(`"secrets":[` + strings.Repeat(one+",", 7) + one + `]`),
		"smallest secret":      with(`"secrets":[{` + keyID + `,"sealed":"` + strings.Repeat("AAAA", 16) + `AA=="}]`),
		"headers":              with(`"headers":{"Authorization":"Bearer abc def","X-Empty":""}`),
		"limits":               with(`"max_in_flight":1000,"rate_per_second":0.001`),
		"zero limits":          with(`"max_in_flight":0,"rate_per_second":0`),
		"highest rate":         with(`"rate_per_second":1e4`),
		"longest description":  with(`"description":"` + strings.Repeat("ü", 500) + `"`),
		"written at":           with(`"updated_at":"2026-01-02T03:04:05.678+01:00"`),
		"any order":            `{"enabled":true,"url":"https://example.com/hook"}`,
	}
}

// invalidEndpoints are refused by the schema and by the Go type.
func invalidEndpoints() map[string]string {
	one := `{"key_id":"0123456789abcdef","sealed":"` + someSealed + `"}`
	headers := make([]string, 33)
	for i := range headers {
		headers[i] = `"X-` + strings.Repeat("a", i+1) + `":"v"`
	}
	table := map[string]string{
		"not an object":           `[]`,
		"a string":                `"https://example.com"`,
		"null":                    `null`,
		"empty":                   `{}`,
		"no url":                  `{"enabled":true}`,
		"no switch":               `{"url":"https://example.com/"}`,
		"null url":                `{"url":null,"enabled":true}`,
		"null switch":             `{"url":"https://example.com/","enabled":null}`,
		"null secrets":            with(`"secrets":null`),
		"null limit":              with(`"max_in_flight":null`),
		"null header":             with(`"headers":{"X-A":null}`),
		"unknown field":           with(`"colour":"red"`),
		"other case":              with(`"Description":"x"`),
		"stored revision":         with(`"revision":3`),
		"empty url":               `{"url":"","enabled":true}`,
		"plain http":              `{"url":"http://example.com/","enabled":true}`,
		"other scheme":            `{"url":"ftp://example.com/","enabled":true}`,
		"no scheme":               `{"url":"example.com","enabled":true}`,
		"no host":                 `{"url":"https:///path","enabled":true}`,
		"user in url":             `{"url":"https://a@example.com/","enabled":true}`,
		"fragment":                `{"url":"https://example.com/#a","enabled":true}`,
		"blank in url":            `{"url":"https://example.com/a b","enabled":true}`,
		"line break in url":       `{"url":"https://example.com/\r\nX: y","enabled":true}`,
		"backslash in url":        `{"url":"https://example.com\\@10.0.0.1/","enabled":true}`,
		"url too long":            `{"url":"https://example.com/` + strings.Repeat("a", 2048) + `","enabled":true}`,
		"url a number":            `{"url":1,"enabled":true}`,
		"switch a string":         `{"url":"https://example.com/","enabled":"yes"}`,
		"secret not sealed":       with(`"secrets":["` + plainSecret + `"]`),
		"secret not in a list":    with(`"secrets":"` + plainSecret + `"`),
		"plain secret as sealed":  with(`"secrets":[{` + keyID + `,"sealed":"` + plainSecret + `"}]`),
		"nine secrets":            with(`"secrets":[` + strings.Repeat(one+",", 8) + one + `]`),
		"secret without key":      with(`"secrets":[{"sealed":"` + someSealed + `"}]`),
		"secret without value":    with(`"secrets":[{` + keyID + `}]`),
		"secret unknown field":    with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `","plain":"x"}]`),
		"key id upper case":       with(`"secrets":[{"key_id":"0123456789ABCDEF","sealed":"` + someSealed + `"}]`),
		"key id too short":        with(`"secrets":[{"key_id":"0123","sealed":"` + someSealed + `"}]`),
		"sealed too short":        with(`"secrets":[{` + keyID + `,"sealed":"` + strings.Repeat("AAAA", 16) + `"}]`),
		"sealed too long":         with(`"secrets":[{` + keyID + `,"sealed":"` + strings.Repeat("AAAA", 188) + `"}]`),
		"sealed unpadded":         with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `AA"}]`),
		"sealed loose bits":       with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `AB=="}]`),
		"sealed url alphabet":     with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `-_-_"}]`),
		"sealed line break":       with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `\n"}]`),
		"newest secret expires":   with(`"secrets":[{` + keyID + `,"sealed":"` + someSealed + `","expires_at":"2026-05-01T00:00:00Z"}]`),
		"expiry not a time":       with(`"secrets":[` + one + `,{` + keyID + `,"sealed":"` + someSealed + `","expires_at":"tomorrow"}]`),
		"header no token":         with(`"headers":{"a b":"x"}`),
		"header without a name":   with(`"headers":{"":"x"}`),
		"header name too long":    with(`"headers":{"` + strings.Repeat("a", 129) + `":"x"}`),
		"header line break":       with(`"headers":{"X-A":"a\r\nb"}`),
		"header blank at the end": with(`"headers":{"X-A":"a "}`),
		"header value too long":   with(`"headers":{"X-A":"` + strings.Repeat("a", 1025) + `"}`),
		"header a list":           with(`"headers":{"X-A":["a"]}`),
		"33 headers":              with(`"headers":{` + strings.Join(headers, ",") + `}`),
		"max in flight negative":  with(`"max_in_flight":-1`),
		"max in flight high":      with(`"max_in_flight":1001`),
		"max in flight fraction":  with(`"max_in_flight":1.5`),
		"max in flight a string":  with(`"max_in_flight":"10"`),
		"rate negative":           with(`"rate_per_second":-1`),
		"rate too low":            with(`"rate_per_second":0.0001`),
		"rate too high":           with(`"rate_per_second":10000.1`),
		"description too long":    with(`"description":"` + strings.Repeat("ü", 501) + `"`),
		"description escape":      with(`"description":"\u001b[2J"`),
		"description not text":    with(`"description":{}`),
		"updated not a time":      with(`"updated_at":"yesterday"`),
	}
	for _, name := range []string{
		"x-popsee-signature", "X-POPSEE-Anything", "Webhook-Id", "webhook-signature", "Proxy-Authorization", "content-type",
		"Content-Length", "content-encoding", "User-Agent", "HOST", "date", "Traceparent", "tracestate", "connection",
		"Keep-Alive", "te", "Trailer", "Transfer-Encoding", "upgrade", "HTTP2-Settings", "Expect", "range",
		"Idempotency-Key", "X-Idempotency-Key",
	} {
		table["header "+name] = with(`"headers":{"` + name + `":"x"}`)
	}
	return table
}

// beyondSchema is what a JSON Schema cannot say, or says of no JSON text.
func beyondSchema() map[string]string {
	return map[string]string{
		"nothing":                ``,
		"truncated":              minimal[:20],
		"trailing text":          minimal + `x`,
		"two values":             minimal + minimal,
		"byte order mark":        "\ufeff" + minimal,
		"field twice":            with(`"enabled":false`),
		"secret field twice":     with(`"secrets":[{` + keyID + `,` + keyID + `,"sealed":"` + someSealed + `"}]`),
		"header twice":           with(`"headers":{"X-A":"1","x-a":"2"}`),
		"bad UTF-8":              with("\"description\":\"\xff\""),
		"lone surrogate":         with(`"description":"\ud800"`),
		"private address":        `{"url":"https://192.168.0.1/","enabled":true}`,
		"this machine":           `{"url":"https://localhost/","enabled":true}`,
		"port of something else": `{"url":"https://example.com:22/","enabled":true}`,
		"number too large":       with(`"rate_per_second":1e400`),
		"depth 10,000":           with(`"headers":` + strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000)),
		"too large":              with(`"description":"` + strings.Repeat("x", config.MaxEndpointBytes) + `"`),
	}
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.EndpointSchema()))
	check(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	check(t, c.AddResource("endpoint.schema.json", doc))
	schema, err := c.Compile("endpoint.schema.json")
	check(t, err)
	return schema
}

func validates(t testing.TB, schema *jsonschema.Schema, value string) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func TestSchemaAndTypeAcceptTheSame(t *testing.T) {
	schema := compileSchema(t)
	for name, value := range validEndpoints() {
		t.Run(name, func(t *testing.T) {
			if err := validates(t, schema, value); err != nil {
				t.Errorf("schema: %v", err)
			}
			e, err := config.ParseEndpoint("s1", []byte(value), delivery.Rules{})
			if err != nil {
				t.Fatalf("type: %v", err)
			}
			again := mustEncode(t, e)
			if err := validates(t, schema, string(again)); err != nil {
				t.Errorf("schema refuses what was written back, %s: %v", again, err)
			}
			back, err := config.ParseEndpoint("s1", again, delivery.Rules{})
			check(t, err)
			if diff := cmp.Diff(mustEncode(t, e), mustEncode(t, back)); diff != "" {
				t.Errorf("read, written and read again: %s", diff)
			}
		})
	}
}

func TestSchemaAndTypeRefuseTheSame(t *testing.T) {
	schema := compileSchema(t)
	for name, value := range invalidEndpoints() {
		t.Run(name, func(t *testing.T) {
			if err := validates(t, schema, value); err == nil {
				t.Error("the schema accepts it")
			}
			wantInvalid(t, value)
		})
	}
}

func TestTypeRefusesWhatNoSchemaCan(t *testing.T) {
	for name, value := range beyondSchema() {
		t.Run(name, func(t *testing.T) { wantInvalid(t, value) })
	}
}

// wantInvalid checks that a value is refused with a reason that is one short
// line and shows nothing that may be a secret.
func wantInvalid(t *testing.T, value string) {
	t.Helper()
	_, err := config.ParseEndpoint("s1", []byte(value), delivery.Rules{})
	wantError(t, err, config.ErrInvalidEndpoint)
	if err == nil {
		return
	}
	wantNoSecret(t, err.Error())
	if text := err.Error(); len(text) > 400 || strings.ContainsAny(text, "\r\n\x1b") || strings.Contains(text, someSealed) {
		t.Errorf("not a short line: %q", text)
	}
}

func TestTheReasonSaysWhere(t *testing.T) {
	for value, want := range map[string]string{
		with(`"secrets":[{` + keyID + `,"sealed":1}]`): "endpoint of survey s1: secrets/0/sealed: wrong type or form (a number)",
		with(`"colour":"red"`):                         "endpoint of survey s1: colour: unknown field",
		with(`"enabled":false`):                        "endpoint of survey s1: enabled: the field is there twice",
		with(`"headers":{"X-A":null}`):                 "endpoint of survey s1: headers/X-A: null is not allowed; leave the field out",
		`{"url":"https://example.com/"}`:               "endpoint of survey s1: enabled: the field is missing",
		with(`"max_in_flight":-1,"rate_per_second":-1`): "endpoint of survey s1: max_in_flight: -1 is not between 1 and 1000; " +
			"rate_per_second: -1 is not between 0.001 and 10000",
	} {
		_, err := config.ParseEndpoint("s1", []byte(value), delivery.Rules{})
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestAnUnknownFieldHintsAtTheKnown(t *testing.T) {
	_, err := config.ParseEndpoint("s1", []byte(with(`"uri":""`)), delivery.Rules{})
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "url, secrets") {
		t.Errorf("%v has no hint", err)
	}
}

func TestInsecureRulesAllowPlainHTTP(t *testing.T) {
	value := []byte(`{"url":"http://127.0.0.1:9000/","enabled":true}`)
	_, err := config.ParseEndpoint("s1", value, delivery.Rules{AllowInsecure: true})
	check(t, err)
}

func TestEncodeIsStable(t *testing.T) {
	e := config.Endpoint{
		Survey: "s1", Revision: 7, URL: "https://example.com/", Enabled: true,
		Headers:   map[string]string{"X-B": "2", "X-A": "1"},
		UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
	}
	want := `{"url":"https://example.com/","enabled":true,"headers":{"X-A":"1","X-B":"2"},"updated_at":"2026-01-02T03:04:05.006Z"}`
	for range 10 {
		if got := string(mustEncode(t, e)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestASecretExpiresAtItsTime(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := config.SealedSecret{ExpiresAt: &at}
	if s.Expired(at.Add(-1)) || !s.Expired(at) || (config.SealedSecret{}).Expired(at) {
		t.Error("wrong at the edges")
	}
}

func mustEncode(t testing.TB, e config.Endpoint) []byte {
	t.Helper()
	b, err := e.Encode()
	check(t, err)
	return b
}

// FuzzParseEndpoint checks that whatever is stored is either refused as
// invalid or read, written and read again as the same, which the schema accepts
// too.
func FuzzParseEndpoint(f *testing.F) {
	for _, table := range []map[string]string{validEndpoints(), invalidEndpoints(), beyondSchema()} {
		for _, value := range table {
			if len(value) < 4096 { // long ones are in the tables; here they only slow the search
				f.Add([]byte(value))
			}
		}
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := config.ParseEndpoint("s1", value, delivery.Rules{})
		if err != nil {
			wantError(t, err, config.ErrInvalidEndpoint)
			return
		}
		b := mustEncode(t, e)
		if err := validates(t, schema, string(b)); err != nil {
			t.Errorf("schema refuses %s: %v", b, err)
		}
		again, err := config.ParseEndpoint("s1", b, delivery.Rules{})
		check(t, err)
		if !bytes.Equal(b, mustEncode(t, again)) {
			t.Errorf("%s is read as another endpoint than it was written from", b)
		}
	})
}
