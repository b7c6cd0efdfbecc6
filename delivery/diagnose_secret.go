package delivery

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// byteOrderMark begins files that some editors save.
const byteOrderMark = "\ufeff"

// mistakes gathers what a value becomes by one, the right one first and none twice.
type mistakes []mistake

func (m *mistakes) add(b []byte, problem, advice string) {
	if b != nil && !bytes.Equal(b, (*m)[0].bytes) {
		*m = append(*m, mistake{b, Diagnosis{problem, advice}})
	}
}

// secretMistakes are the keys that a secret is mistaken for where its text is the key, as for X-Popsee-Signature.
func secretMistakes(secret Secret) []mistake {
	text := secret.Reveal()
	all := mistakes{{bytes: text}}
	const asIs = "the key is the secret's text, byte for byte as it was given"
	all.written(text, asIs)
	all.add([]byte(strings.TrimPrefix(string(text), standardPrefix)), "the prefix whsec_ was cut off the secret", "for "+HeaderSignature+" "+asIs+", prefix included")
	all.add([]byte(standardPrefix+string(text)), "the prefix whsec_ is missing from the secret here", asIs+", prefix included")
	all.add([]byte((*secret.keys).standard), "the secret's base64 part was decoded", "that is for "+HeaderStandardSignature+"; for "+HeaderSignature+" "+asIs)
	all.decoded(string(text), asIs)
	all.add([]byte(hex.EncodeToString(text)), "the secret was encoded in hex", asIs)
	all.add([]byte(base64.StdEncoding.EncodeToString(text)), "the secret was encoded in base64", asIs)
	all.add([]byte{}, "the other side's secret is empty", "look whether its setting or variable is read at all")
	return all
}

// standardMistakes are the same for webhook-signature, whose key a whsec_ secret has in base64.
func standardMistakes(secret Secret) []mistake {
	key, text := []byte((*secret.keys).standard), secret.Reveal()
	all := mistakes{{bytes: key}}
	const encoded = "the key of " + HeaderStandardSignature + " is what follows whsec_, decoded from base64; of a secret without that prefix it is the secret's text"
	all.add(text, "the whole secret was taken for the key", encoded)
	all.written(text, encoded)
	all.add([]byte(strings.TrimPrefix(string(text), standardPrefix)), "the secret's base64 part was not decoded", encoded)
	all.decoded(string(text), encoded)
	all.add([]byte{}, "the other side's secret is empty", "look whether its setting or variable is read at all")
	return all
}

// written adds what files and settings make of a secret.
func (m *mistakes) written(text []byte, advice string) {
	const cut = "files made by echo or an editor end in one: cut it off"
	m.add(bytes.TrimSpace(text), "the secret here has blanks around it", "remove them: "+advice)
	m.add(append(bytes.Clone(text), '\n'), "the other side's secret ends in a line end", cut)
	m.add(append(bytes.Clone(text), "\r\n"...), "the other side's secret ends in a line end", cut)
	m.add([]byte(byteOrderMark+string(text)), "the other side's secret begins with a byte order mark", "save its file without one")
	m.add(bytes.TrimPrefix(text, []byte(byteOrderMark)), "the secret here begins with a byte order mark", "save its file without one")
	m.add([]byte(`"`+string(text)+`"`), "the other side's secret has quotes around it", "some settings files keep them: "+advice)
	m.add(bytes.Trim(text, `"'`), "the secret here has quotes around it", advice)
	m.add(utf8Twice(text), "the other side read the secret as Latin-1", "secrets are UTF-8")
	m.add(latin1(text), "the secret here was read as Latin-1 and written as UTF-8", "secrets are UTF-8")
}

// decoded adds a secret that was taken for an encoding of one.
func (m *mistakes) decoded(text, advice string) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(text); err == nil {
			m.add(b, "the secret was decoded from base64", advice)
		}
	}
	if b, err := hex.DecodeString(text); err == nil {
		m.add(b, "the secret was decoded from hex", advice)
	}
}
