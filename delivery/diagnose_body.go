package delivery

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const rawBytes = "verify the bytes as they arrived, before any parser or framework touches them"

// bodyMistakes are what a body is turned into on its way to the verification; the right one comes first.
func bodyMistakes(body []byte) []mistake {
	all := mistakes{{bytes: body}}
	all.lineEnds(body)
	all.encoded(body)
	all.add([]byte{}, "the signature is that of an empty body", "the body had been read before it was verified; keep its bytes")
	if _, rest, found := bytes.Cut(body, []byte("\r\n\r\n")); found {
		all.add(rest, "the body here begins with the request's headers", "cut off all up to the first empty line")
	}
	var wrapped string
	if json.Unmarshal(body, &wrapped) == nil {
		all.add([]byte(wrapped), "the body here is a JSON string that holds the body: it was encoded once more", rawBytes)
	}
	for _, again := range encodedAgain(body) {
		all.add(again, "the body here was parsed and encoded again: it is the same JSON and not the same bytes", rawBytes)
	}
	return all
}

// lineEnds adds what editors, shells and transfers do at lines' ends.
func (m *mistakes) lineEnds(body []byte) {
	m.add(bytes.TrimRight(body, "\r\n"), "the body here has a line end too many", "an editor or echo added it: compare files with cmp; "+rawBytes)
	m.add(append(bytes.Clone(body), '\n'), "the body here lacks its last line end", rawBytes)
	m.add(bytes.TrimSpace(body), "the body here has blanks around it", rawBytes)
	m.add(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), "line ends in the body became CRLF", rawBytes)
	m.add(bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")), "line ends in the body became LF", rawBytes)
}

// encoded adds what character encodings do.
func (m *mistakes) encoded(body []byte) {
	bom := []byte(byteOrderMark)
	m.add(bytes.TrimPrefix(body, bom), "the body here begins with a byte order mark", "save it without one; "+rawBytes)
	m.add(bytes.TrimRight(bytes.TrimPrefix(body, bom), "\r\n"), "the body here begins with a byte order mark, and has a line end too many", "save it without; "+rawBytes)
	m.add(append(bytes.Clone(bom), body...), "the body here lacks its byte order mark", rawBytes)
	const wide = "PowerShell's > does that: use cmd, or Out-File -Encoding; " + rawBytes
	text := fromUTF16(body)
	m.add(text, "the body here was saved as UTF-16", wide)
	m.add(bytes.TrimRight(text, "\r\n"), "the body here was saved as UTF-16, with a line end too many", wide)
	m.add(latin1(body), "the body was decoded as Latin-1 and encoded as UTF-8", rawBytes)
	m.add(utf8Twice(body), "the other side decoded the body as Latin-1 and encoded it as UTF-8", rawBytes)
}

// fromUTF16 reads a text that begins with a byte order mark of UTF-16; nil if it is none.
func fromUTF16(body []byte) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case len(body) < 4 || len(body)%2 != 0:
		return nil
	case body[0] == 0xfe && body[1] == 0xff:
		order = binary.BigEndian
	case body[0] != 0xff || body[1] != 0xfe:
		return nil
	}
	units := make([]uint16, len(body)/2-1)
	for i := range units {
		units[i] = order.Uint16(body[2*i+2:])
	}
	return []byte(string(utf16.Decode(units)))
}

// latin1 undoes the double encoding of what was read as Latin-1; nil when it was not.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r > 0xff || r == utf8.RuneError {
			return nil
		}
		out = append(out, byte(r))
	}
	return out
}

// utf8Twice is what UTF-8 becomes that is read as Latin-1 and written as UTF-8.
func utf8Twice(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, b := range text {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// oddities says what of a body speaks for its having been touched, when no mistake explains a signature: what an
// encoder has dropped, such as the order of fields, cannot be tried out.
func oddities(body []byte) Diagnosis {
	signs := []string{}
	var compact bytes.Buffer
	switch {
	case len(body) == 0:
		return Diagnosis{"the body here is empty", "something had read it before: keep its bytes"}
	case json.Compact(&compact, body) != nil:
		return Diagnosis{"the body here is not JSON, as every event is", "is it cut off, or not the body?"}
	}
	if !bytes.Equal(compact.Bytes(), bytes.TrimSpace(body)) {
		signs = append(signs, "blanks between its parts")
	}
	if bytes.Equal(alphabetical(body), compact.Bytes()) && bytes.Count(body, []byte(`":`)) > 2 {
		signs = append(signs, "all its fields in alphabetical order")
	}
	if bytes.Contains(body, []byte(`\/`)) || bytes.Contains(bytes.ToLower(body), []byte(`\u00`)) {
		signs = append(signs, "characters escaped that need not be")
	}
	if len(signs) == 0 {
		return Diagnosis{}
	}
	return Diagnosis{Advice: "the body here has " + strings.Join(signs, ", and ") + ": that is often a sign of JSON that was parsed and encoded again"}
}
