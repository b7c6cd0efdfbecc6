package delivery

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// encodedAgain are the forms common encoders give a JSON body, were it the other side that encoded it so. A body that
// is no JSON has no forms.
func encodedAgain(body []byte) [][]byte {
	var forms [][]byte
	for _, compact := range [][]byte{compacted(body, true), compacted(body, false)} {
		if compact == nil {
			return nil
		}
		forms = append(forms, blanks(compact)...)
	}
	for _, f := range forms {
		e := escaped(f)
		slashed := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("/"), []byte(`\/`)) }
		forms = append(forms, e, slashed(f), slashed(e), htmlEscaped(f))
	}
	return append(forms, alphabetical(body))
}

// compacted takes out all blanks, and writes strings again with as few escapes as there can be, or keeps them.
func compacted(body []byte, keep bool) []byte {
	v := jsontext.Value(bytes.Clone(body))
	if v.Format(jsontext.PreserveRawStrings(keep), jsontext.AllowDuplicateNames(true)) != nil {
		return nil
	}
	return v
}

// blanks are the ways to put blanks into compact JSON.
func blanks(compact []byte) [][]byte {
	forms := [][]byte{compact, spaced(compact)}
	for _, width := range []string{"  ", "    ", "\t"} {
		var indented bytes.Buffer
		if json.Indent(&indented, compact, "", width) == nil {
			forms = append(forms, indented.Bytes())
		}
	}
	return forms
}

// alphabetical is what an encoder of maps makes of it.
func alphabetical(body []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return sorted
}

// htmlEscaped is what Go's encoder does by default.
func htmlEscaped(body []byte) []byte {
	var out bytes.Buffer
	json.HTMLEscape(&out, body)
	return out.Bytes()
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
