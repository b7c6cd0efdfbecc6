package delivery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
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
