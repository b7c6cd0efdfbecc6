package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNewSecretTakesWhatCanSign(t *testing.T) {
	for name, s := range map[string]string{
		"any text":       "correct horse battery staple",
		"one byte":       "x",
		"512 bytes":      strings.Repeat("x", 512),
		"not ASCII":      "höchst gehéim 🙈",
		"a standard one": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		if _, err := NewSecret(s); err != nil {
			t.Errorf("%s: got %v, want none", name, err)
		}
	}
}

func TestNewSecretRefusesWithoutQuoting(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                      "",
		"513 bytes":                  strings.Repeat("x", 513),
		"a trailing newline":         "hush-hush\n",
		"NUL":                        "hush\x00hush",
		"invalid UTF-8":              "hush\xffhush",
		"whsec_ alone":               "whsec_",
		"whsec_ and no base64":       "whsec_hush-hush",
		"whsec_ without its padding": "whsec_aHVzaA",
		"whsec_ with a newline":      "whsec_aHVz\naA==",
	} {
		_, err := NewSecret(s)
		if !errors.Is(err, ErrSecret) {
			t.Errorf("%s: got %v, want ErrSecret", name, err)
			continue
		}
		if s != "" && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error quotes the secret: %v", name, err)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	const text, decoded = "whsec_aHVzaC1odXNoLWh1c2g=", "hush-hush-hush"
	s := mustSecret(t, text)
	values := map[string]any{
		"itself":              s,
		"a pointer":           &s,
		"in an exported one":  SecretSpec{Secret: s, ExpiresAt: time.Unix(1, 0)},
		"in an unexported":    struct{ s Secret }{s},
		"in a slice":          []Secret{s},
		"as a map's value":    map[string]Secret{"a": s},
		"as a map's key":      map[Secret]int{s: 1},
		"in a target":         mustTarget(t, TargetSpec{URL: "https://example.com/", Headers: map[string]string{"authorization": text}, Secrets: []SecretSpec{{Secret: s}}}),
		"in a target's spec":  TargetSpec{Secrets: []SecretSpec{{Secret: s}}},
		"in an interface any": struct{ v any }{s},
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) { assertNoSecret(t, v, text, decoded, strings.TrimPrefix(text, "whsec_")) })
	}
	if got := string(s.Reveal()); got != text {
		t.Errorf("Reveal: got %q, want the secret as written", got)
	}
}

func TestSecretEqual(t *testing.T) {
	a, b := mustSecret(t, "a"), mustSecret(t, "b")
	if !a.Equal(mustSecret(t, "a")) || a.Equal(b) || a.Equal(Secret{}) || !(Secret{}).Equal(Secret{}) {
		t.Error("Equal does not compare the text")
	}
	if a.IsZero() || !(Secret{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}
