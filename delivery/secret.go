package delivery

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"
)

const (
	maxSecretBytes = 512 // far above any generated secret, and it keeps the sealed value small
	standardPrefix = "whsec_"
	hiddenSecret   = "secret(...)"
)

// ErrSecret is what every refusal of NewSecret wraps.
var ErrSecret = errors.New("not a usable secret")

// Secret is what an endpoint's signatures are made with. Every way of printing or encoding it says "secret(...)";
// the bytes leave through Reveal alone. The zero value is no secret: it signs nothing. Compare with Equal; == tells
// whether two come from one call of NewSecret, not whether they say the same.
type Secret struct {
	// fmt calls no methods on what lies in an unexported field: it prints the bare value. One pointer it follows when the
	// verb does not fit (%s), two it never does.
	keys **keys
}

type keys struct {
	text     string // as the owner knows it; the key of X-Popsee-Signature
	standard string // the key of webhook-signature: the decoded part of a whsec_ secret, else text
}

// NewSecret checks a secret as an owner writes it. One that starts with whsec_ must go on in padded standard base64,
// for this is what the Standard Webhooks libraries decode.
func NewSecret(s string) (Secret, error) {
	switch {
	case s == "":
		return Secret{}, fmt.Errorf("%w: it is empty", ErrSecret)
	case len(s) > maxSecretBytes:
		return Secret{}, fmt.Errorf("%w: longer than %d bytes", ErrSecret, maxSecretBytes)
	case strings.ContainsFunc(s, isControl):
		return Secret{}, fmt.Errorf("%w: it holds a control character (a trailing newline?)", ErrSecret)
	}
	encoded, ok := strings.CutPrefix(s, standardPrefix)
	if !ok {
		return hide(keys{text: s, standard: s}), nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) == 0 {
		// The decoder's error names a position and quotes nothing, but even a position says something about a secret.
		return Secret{}, fmt.Errorf("%w: what follows whsec_ is not padded standard base64", ErrSecret)
	}
	return hide(keys{text: s, standard: string(key)}), nil
}

func hide(k keys) Secret {
	p := &k
	return Secret{&p}
}

// Reveal hands out the secret's bytes, as the owner wrote them, for sealing and for showing it once to its owner.
func (s Secret) Reveal() []byte { return []byte(s.text()) }

// Equal reports whether two secrets are the same, in time that does not depend on where they differ.
func (s Secret) Equal(other Secret) bool { return hmac.Equal([]byte(s.text()), []byte(other.text())) }

// IsZero reports whether s is no secret at all.
func (s Secret) IsZero() bool { return s.keys == nil }

// String hides the secret.
func (s Secret) String() string { return hiddenSecret }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return hiddenSecret }

// Format hides the secret from every verb, those included that would reach past String into the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hiddenSecret)) }

// MarshalText hides the secret from every encoder of text, that of JSON map keys included.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hiddenSecret), nil }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hiddenSecret + `"`), nil }

// MarshalZerologObject hides the secret from the log.
func (s Secret) MarshalZerologObject(e *zerolog.Event) { e.Str("secret", hiddenSecret) }

func (s Secret) text() string {
	if s.keys == nil {
		return ""
	}
	return (*s.keys).text
}

// isControl is true of control characters, and of the U+FFFD that a range over invalid UTF-8 yields.
func isControl(r rune) bool { return r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\uFFFD' }
