package delivery

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestDiagnoseNamesTheMistake(t *testing.T) {
	const text = "correct horse battery staple"
	body := []byte(`{"event":"response.completed","answers":[{"value":"Great café! 😀 a/b"},{"value":9007199254740993}],"a":1}` + "\n")
	plain := bytes.TrimSuffix(body, []byte("\n"))
	sign := func(secret string, b []byte) string {
		s, err := NewSecret(secret)
		if err != nil {
			t.Fatal(err)
		}
		return Sign(s, b)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, plain, "", "  "); err != nil {
		t.Fatal(err)
	}
	good := sign(text, plain)
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var fields map[string]any
	if err := json.Unmarshal(plain, &fields); err != nil {
		t.Fatal(err)
	}
	sha := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "")))
		return "sha256=" + hex.EncodeToString(sum[:])
	}
	slashed := bytes.ReplaceAll(escaped(plain), []byte("/"), []byte(`\/`))
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(plain) + "\r\n")) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	sum, err := NewSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		secret, signature string
		body              []byte
		want              string // in the problem; empty means that it verifies
	}{
		"nothing":                       {text, good, plain, ""},
		"another secret":                {"another", good, plain, "not made from this body with this secret"},
		"another body":                  {text, good, []byte("{}"), "not made from this body with this secret"},
		"no signature":                  {text, "", plain, "there is no signature"},
		"no prefix":                     {text, good[7:], plain, "prefix sha256= is missing"},
		"upper case":                    {text, "sha256=" + strings.ToUpper(good[7:]), plain, "upper case"},
		"blanks around":                 {text, " " + good + " ", plain, "blanks around"},
		"base64":                        {text, "sha256=" + base64.StdEncoding.EncodeToString(mac(sum.Reveal(), plain)), plain, "in base64"},
		"not a signature":               {text, "sha1=abc", plain, "not a signature"},
		"the other signature":           {text, "v1,abc", plain, "this is a webhook-signature"},
		"a line end added":              {text, good, body, "a line end too many"},
		"a line end lost":               {text, sign(text, body), plain, "lacks its last line end"},
		"a byte order mark":             {text, good, append([]byte("\ufeff"), plain...), "byte order mark"},
		"indented by the other side":    {text, sign(text, indented.Bytes()), plain, "parsed and encoded again"},
		"compacted here":                {text, good, indented.Bytes(), "parsed and encoded again"},
		"escaped by the other side":     {text, sign(text, escaped(plain)), plain, "parsed and encoded again"},
		"blanks by the other side":      {text, sign(text, spaced(plain)), plain, "parsed and encoded again"},
		"read as Latin-1":               {text, sign(text, []byte(`{"a":"é"}`)), []byte("{\"a\":\"\u00c3\u00a9\"}"), "Latin-1"},
		"an empty body":                 {text, sign(text, nil), plain, "empty body"},
		"a whsec_ prefix cut":           {"whsec_c2VjcmV0", sign("c2VjcmV0", plain), plain, "prefix whsec_ was cut"},
		"a whsec_ secret decoded":       {"whsec_c2VjcmV0", sign("secret", plain), plain, "base64 part was decoded"},
		"the prefix in upper case":      {text, "SHA256=" + good[7:], plain, "prefix sha256= is not in lower case"},
		"quotes around the signature":   {text, `"` + good + `"`, plain, "quotes around the signature"},
		"the header's name":             {text, "x-popsee-signature: " + good, plain, "header's name is part"},
		"a digit lost":                  {text, good[:len(good)-1], plain, "it has 63 hex digits"},
		"SHA-1":                         {text, "sha256=" + strings.Repeat("a", 40), plain, "as many as SHA-1 has"},
		"two signatures":                {text, good + ", " + good, plain, "several signatures"},
		"base64 for URLs":               {text, base64.RawURLEncoding.EncodeToString(mac(sum.Reveal(), plain)), plain, "prefix sha256= is missing from the signature; and the signature is encoded in base64"},
		"escaped here by PHP":           {text, good, slashed, "parsed and encoded again"},
		"in alphabetical order there":   {text, sign(text, marshal(fields)), []byte(`{"event":"response.completed","answers":[{"value":"Great café! 😀 a/b"},{"value":9007199254740992}],"a":1}`), "parsed and encoded again"},
		"numbers lost here":             {text, good, marshal(fields), "not made from this body with this secret"},
		"encoded once more":             {text, good, marshal(string(plain)), "JSON string that holds the body"},
		"headers and body in one file":  {text, good, append([]byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), plain...), "begins with the request's headers"},
		"saved by PowerShell":           {text, good, wide, "saved as UTF-16"},
		"CRLF":                          {text, sign(text, []byte("{\n}")), []byte("{\r\n}"), "line ends in the body became CRLF"},
		"nothing left of the body":      {text, good, nil, "the body here is empty"},
		"no JSON":                       {text, good, plain[:20], "the body here is not JSON"},
		"key and message exchanged":     {text, "sha256=" + hex.EncodeToString(mac(plain, []byte(text))), plain, "key and message exchanged"},
		"a hash without the secret":     {text, sha(string(plain)), plain, "SHA-256 of the body, without the secret"},
		"a hash of both":                {text, sha(text, string(plain)), plain, "and no HMAC"},
		"no whsec_ prefix here":         {"c2VjcmV0", sign("whsec_c2VjcmV0", plain), plain, "prefix whsec_ is missing from the secret here"},
		"a line end in their secret":    {text, "sha256=" + hex.EncodeToString(mac([]byte(text+"\n"), plain)), plain, "other side's secret ends in a line end"},
		"a mark in the secret here":     {"\ufeff" + text, good, plain, "secret here begins with a byte order mark"},
		"quotes around the secret here": {`"` + text + `"`, good, plain, "secret here has quotes"},
		"their secret is empty":         {text, "sha256=" + hex.EncodeToString(mac(nil, plain)), plain, "other side's secret is empty"},
		"two mistakes at once":          {text, good[7:], body, "prefix sha256= is missing from the signature; and the body here has a line end too many"},
		"blanks around the secret here": {" " + text, good, plain, "blanks around it"},
	} {
		s, err := NewSecret(c.secret)
		if err != nil {
			t.Fatal(err)
		}
		d := Diagnose(s, c.signature, c.body)
		if c.want == "" && d != (Diagnosis{}) || !strings.Contains(d.Problem, c.want) || (d.Problem == "") != (d.Advice == "") {
			t.Errorf("%s: got %+v, want %q", name, d, c.want)
		}
		if strings.Contains(d.Problem+d.Advice, text) {
			t.Errorf("%s: the secret is in the diagnosis", name)
		}
	}
}

func TestDiagnoseSaysWhatIsOddAboutABodyThatNothingExplains(t *testing.T) {
	secret, err := NewSecret("correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	good := Sign(secret, []byte(`{"event":"response.completed","survey":{"id":"s1"},"response":{"id":"r1"}}`))
	for body, want := range map[string]string{
		`{"event":"response.completed","response":{"id":"r1"},"survey":{"id":"s1"}}`:  "all its fields in alphabetical order",
		`{"event": "response.completed", "survey": {"id": "s1"}, "answers": 1}`:       "blanks between its parts",
		`{"event":"response.completed","survey":{"id":"s1"},"pageUrl":"https:\/\/a"}`: "characters escaped",
	} {
		if d := Diagnose(secret, good, []byte(body)); !strings.Contains(d.Advice, want) || !strings.Contains(d.Problem, "not made from this body") {
			t.Errorf("%s: got %+v, want %q", body, d, want)
		}
	}
}

func TestDiagnoseStandardNamesTheMistake(t *testing.T) {
	const text, id, at = "whsec_c2VjcmV0IG9mIGFuIG93bmVy", "r1", "1705924800"
	body := `{"event":"response.completed","survey":{"id":"s1"},"response":{"id":"r1"}}`
	secret, err := NewSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	v1 := func(key, content string) string {
		return "v1," + base64.StdEncoding.EncodeToString(mac([]byte(key), []byte(content)))
	}
	const key = "secret of an owner"
	good := v1(key, id+"."+at+"."+body)
	for name, c := range map[string]struct {
		id, at, signature, body string
		want                    string
	}{
		"nothing":                 {id, at, good, body, ""},
		"one of several":          {id, at, v1("another", "x") + " " + good, body, ""},
		"no signature":            {id, at, "", body, "there is no signature"},
		"the time is missing":     {id, "", good, body, "webhook-timestamp is missing"},
		"the id is missing":       {"", at, good, body, "webhook-id is missing"},
		"the time as a date":      {id, "2024-01-22T12:00:00Z", good, body, "no number of Unix seconds"},
		"the time in ms":          {id, at + "000", good, body, "not in seconds"},
		"another attempt's time":  {id, "1705924801", good, body, "not made from this body"},
		"the simple signature":    {id, at, Sign(secret, []byte(body)), body, "no webhook-signature"},
		"not a signature":         {id, at, "abc", body, "no webhook-signature"},
		"the key is not decoded":  {id, at, v1(text[6:], id+"."+at+"."+body), body, "base64 part was not decoded"},
		"the whole secret":        {id, at, v1(text, id+"."+at+"."+body), body, "whole secret was taken for the key"},
		"the body alone":          {id, at, v1(key, body), body, "the body alone was signed"},
		"the id left out":         {id, at, v1(key, at+"."+body), body, "the id was left out"},
		"the time left out":       {id, at, v1(key, id+"."+body), body, "the time was left out"},
		"the wrong order":         {id, at, v1(key, at+"."+id+"."+body), body, "wrong order"},
		"no full stops":           {id, at, v1(key, id+at+body), body, "full stops were left out"},
		"a line end added":        {id, at, good, body + "\n", "a line end too many"},
		"encoded again":           {id, at, good, strings.ReplaceAll(body, ":", ": "), "parsed and encoded again"},
		"the header's name as it": {id, at, "webhook-signature: " + good, body, "header's name is part"},
	} {
		d := DiagnoseStandard(secret, c.id, c.at, c.signature, []byte(c.body))
		if c.want == "" && d != (Diagnosis{}) || !strings.Contains(d.Problem, c.want) || (d.Problem == "") != (d.Advice == "") {
			t.Errorf("%s: got %+v, want %q", name, d, c.want)
		}
		if strings.Contains(d.Problem+d.Advice, text[6:]) || strings.Contains(d.Problem+d.Advice, key) {
			t.Errorf("%s: the secret is in the diagnosis", name)
		}
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add("secret", "sha256=00", []byte(`{"a":"b"}`))
	f.Fuzz(func(t *testing.T, secret, signature string, body []byte) {
		s, err := NewSecret(secret)
		if err != nil || len(body) > 4096 {
			return
		}
		good := Sign(s, body)
		if d := Diagnose(s, good, body); d != (Diagnosis{}) {
			t.Errorf("a good signature is diagnosed: %+v", d)
		}
		if d := Diagnose(s, signature, body); d == (Diagnosis{}) && Verify(s, signature, body) != nil {
			t.Errorf("%q does not verify and is not diagnosed", signature)
		}
	})
}
