package delivery

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Diagnosis is why a signature does not verify, in words for whoever set the receiver up.
type Diagnosis struct {
	Problem string // what is wrong; empty when nothing is
	Advice  string // what to do about it
}

// Diagnose says why a signature does not match a body and a secret: it tries the mistakes that receivers make, one and
// two at a time, and names those that explain the signature. The zero Diagnosis means that it verifies.
//
// It is for people who develop a receiver, not for receivers: it is slow and not constant in time.
func Diagnose(secret Secret, signature string, body []byte) Diagnosis {
	sum, problem := readSignature(signature)
	if sum == nil {
		return problem
	}
	for _, s := range secretMistakes(secret) {
		for _, b := range bodyMistakes(body) {
			if !hmac.Equal(sum, mac(s.bytes, b.bytes)) {
				continue
			}
			return join(problem, s.Diagnosis, b.Diagnosis)
		}
	}
	d := Diagnosis{"the signature was not made from this body with this secret", "compare the secret with the one configured for the survey; " +
		"and verify the bytes as they arrived, before anything has parsed or decoded them"}
	return join(problem, d)
}

func mac(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

// join puts what was found together; nothing found is the zero Diagnosis.
func join(all ...Diagnosis) Diagnosis {
	var problems, advice []string
	for _, d := range all {
		if d.Problem != "" {
			problems, advice = append(problems, d.Problem), append(advice, d.Advice)
		}
	}
	return Diagnosis{strings.Join(problems, "; and "), strings.Join(advice, "; ")}
}

// readSignature gets the 32 bytes out of a header value however it was mangled, and says how. It returns nil when there
// is nothing to get.
func readSignature(signature string) ([]byte, Diagnosis) {
	s := strings.TrimSpace(signature)
	if s == "" {
		return nil, Diagnosis{"there is no signature", "read the " + HeaderSignature + " header; it is absent when the endpoint has no secret"}
	}
	rest, prefixed := strings.CutPrefix(s, popseePrefix)
	sum, err := hex.DecodeString(rest)
	switch {
	case strings.HasPrefix(s, standardV1):
		return nil, Diagnosis{"this is a webhook-signature, not an " + HeaderSignature, "use a Standard Webhooks library for it, or verify " + HeaderSignature}
	case err == nil && len(sum) == sha256.Size && !prefixed:
		return sum, Diagnosis{"the prefix sha256= is missing from the signature", "compare the whole header value, prefix included"}
	case err == nil && len(sum) == sha256.Size && rest != strings.ToLower(rest):
		return sum, Diagnosis{"the signature's hex digits are in upper case", "they are sent in lower case: compare them as sent"}
	case err == nil && len(sum) == sha256.Size && s != signature:
		return sum, Diagnosis{"there are blanks around the signature", "trim what your framework adds"}
	case err == nil && len(sum) == sha256.Size:
		return sum, Diagnosis{}
	}
	if sum, err := base64.StdEncoding.DecodeString(rest); err == nil && len(sum) == sha256.Size {
		return sum, Diagnosis{"the signature is encoded in base64", "encode the HMAC in lower-case hex"}
	}
	return nil, Diagnosis{"this is not a signature: want sha256= and 64 lower-case hex digits", "copy the whole value of the " + HeaderSignature + " header"}
}

// mistake is what a key or a body becomes by one.
type mistake struct {
	bytes []byte
	Diagnosis
}

// secretMistakes are the keys that a secret is mistaken for; the right one comes first.
func secretMistakes(secret Secret) []mistake {
	text := secret.Reveal()
	all := []mistake{{bytes: text}}
	add := func(b []byte, problem, advice string) {
		if b != nil && !bytes.Equal(b, text) {
			all = append(all, mistake{b, Diagnosis{problem, advice}})
		}
	}
	const asIs = "the key is the secret's text, byte for byte as it was given"
	add(bytes.TrimSpace(text), "the secret here has blanks around it", "remove them: "+asIs)
	add(append(bytes.Clone(text), '\n'), "the other side's secret ends in a line end", "files made by echo or an editor end in one: cut it off")
	add(append(bytes.Clone(text), "\r\n"...), "the other side's secret ends in a line end", "files made by echo or an editor end in one: cut it off")
	add([]byte(strings.TrimPrefix(string(text), standardPrefix)), "the prefix whsec_ was cut off the secret", "for "+HeaderSignature+" "+asIs+", prefix included")
	add([]byte((*secret.keys).standard), "the secret's base64 part was decoded", "that is for webhook-signature; for "+HeaderSignature+" "+asIs)
	add(decoded(base64.StdEncoding.DecodeString(string(text))), "the secret was decoded from base64", asIs)
	add(decoded(hex.DecodeString(string(text))), "the secret was decoded from hex", asIs)
	add([]byte(hex.EncodeToString(text)), "the secret was encoded in hex", asIs)
	add([]byte(base64.StdEncoding.EncodeToString(text)), "the secret was encoded in base64", asIs)
	return all
}

func decoded(b []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return b
}

// bodyMistakes are what a body is turned into on its way to the verification; the right one comes first.
func bodyMistakes(body []byte) []mistake {
	all := []mistake{{bytes: body}}
	add := func(b []byte, problem, advice string) {
		if b != nil && !bytes.Equal(b, body) {
			all = append(all, mistake{b, Diagnosis{problem, advice}})
		}
	}
	const raw = "verify the bytes as they arrived, before any parser or framework touches them"
	bom := []byte("\ufeff")
	add(bytes.TrimRight(body, "\r\n"), "the body here has a line end too many", "an editor or echo added it: compare files with cmp; "+raw)
	add(append(bytes.Clone(body), '\n'), "the body here lacks its last line end", raw)
	add(bytes.TrimPrefix(body, bom), "the body here begins with a byte order mark", "save it without one; "+raw)
	add(append(bytes.Clone(bom), body...), "the body here lacks its byte order mark", raw)
	add(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), "line ends in the body became CRLF", raw)
	add(bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")), "line ends in the body became LF", raw)
	add(latin1(body), "the body was decoded as Latin-1 and encoded as UTF-8", raw)
	add([]byte{}, "the signature is that of an empty body", "the body had been read before it was verified; keep its bytes")
	for _, again := range encodedAgain(body) {
		add(again, "the body here was parsed and encoded again: it is the same JSON and not the same bytes", raw)
	}
	return all
}

// latin1 undoes the double encoding of a body that was read as Latin-1.
func latin1(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for _, r := range string(body) {
		if r > 0xff || r == utf8.RuneError {
			return nil
		}
		out = append(out, byte(r))
	}
	return out
}

// encodedAgain are the forms common encoders give a JSON body, were it the other side that encoded it so.
func encodedAgain(body []byte) [][]byte {
	var compact bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return nil
	}
	forms := [][]byte{compact.Bytes(), spaced(compact.Bytes())}
	for _, width := range []string{"  ", "    ", "\t"} {
		var indented bytes.Buffer
		if json.Indent(&indented, body, "", width) == nil {
			forms = append(forms, indented.Bytes())
		}
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) == nil {
		if sorted, err := json.Marshal(v); err == nil { // keys sorted, < > & escaped
			forms = append(forms, sorted)
		}
	}
	for _, f := range forms {
		forms = append(forms, escaped(f), bytes.ReplaceAll(f, []byte("/"), []byte(`\/`)))
	}
	return forms
}

// spaced puts a blank behind commas and colons, as Python does by default.
func spaced(compact []byte) []byte {
	out := make([]byte, 0, len(compact)+len(compact)/8)
	quoted := false
	for i, c := range compact {
		out = append(out, c)
		switch {
		case c == '"' && !backslashed(compact, i):
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			out = append(out, ' ')
		}
	}
	return out
}

// backslashed says whether an odd number of backslashes stands before i.
func backslashed(b []byte, i int) bool {
	n := 0
	for i--; i >= 0 && b[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// escaped writes everything beyond ASCII as \uXXXX, as Python and PHP do by default.
func escaped(body []byte) []byte {
	var out strings.Builder
	for _, r := range string(body) {
		switch {
		case r < utf8.RuneSelf:
			out.WriteByte(byte(r))
		case r > 0xffff:
			r -= 0x10000
			writeUnit(&out, 0xd800+(r>>10))
			writeUnit(&out, 0xdc00+(r&0x3ff))
		default:
			writeUnit(&out, r)
		}
	}
	return []byte(out.String())
}

func writeUnit(out *strings.Builder, unit rune) {
	const digits = "0123456789abcdef"
	out.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		out.WriteByte(digits[unit>>shift&0xf])
	}
}
