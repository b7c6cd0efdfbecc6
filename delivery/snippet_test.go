package delivery

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	const secret = "hush-hush"
	for name, v := range map[string]struct{ text, want string }{
		"plain text stays":            {"all good", "all good"},
		"letters of elsewhere stay":   {"größe 世界 😀", "größe 世界 😀"},
		"line breaks become blanks":   {"a\r\nb\tc", "a  b c"},
		"a terminal's escape":         {"\x1b[31mred\x1b[0m", "\uFFFD[31mred\uFFFD[0m"},
		"NUL and DEL":                 {"a\x00b\x7f", "a\uFFFDb\uFFFD"},
		"C1 controls":                 {"a\u009bb", "a\uFFFDb"},
		"text turned around":          {"a\u202eb", "a\uFFFDb"},
		"invalid UTF-8":               {"a\xffb", "a\uFFFDb"},
		"a byte order mark":           {"\uFEFFa", "\uFFFDa"},
		"a separator of lines":        {"a\u2028b", "a b"},
		"the secret":                  {"your secret is hush-hush!", "your secret is [redacted]!"},
		"the secret twice":            {"hush-hushhush-hush", "[redacted][redacted]"},
		"the longer of two that fit":  {"hush-hush-longer", "[redacted]"},
		"half of it":                  {"hush-", "hush-"},
		"the secret between controls": {"\x00hush-hush\x00", "\uFFFD[redacted]\uFFFD"},
	} {
		if got := printable([]byte(v.text), snippetBytes, "hush-hush-longer", secret); got != v.want {
			t.Errorf("%s: got %q, want %q", name, got, v.want)
		}
	}
}

func TestPrintableIsCutBetweenCharacters(t *testing.T) {
	for _, char := range []string{"a", "ö", "世", "😀", "\xff", "\x1b"} {
		got := printable([]byte(strings.Repeat(char, 3000)), snippetBytes)
		if len(got) > snippetBytes || len(got) < snippetBytes-4 || !utf8.ValidString(got) {
			t.Errorf("%q: got %d bytes, valid %t", char, len(got), utf8.ValidString(got))
		}
	}
}

// Wherever in the body the secret lies, no part of it longer than what anyone could guess comes through.
func TestPrintableCutsNoSecretInTwo(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef", 32)
	for at := range windowBytes - len(secret) {
		body := []byte(strings.Repeat(".", windowBytes))
		copy(body[at:], secret)
		if got := printable(body, snippetBytes, secret); strings.Contains(got, secret[:1]) {
			t.Fatalf("at %d: got %q", at, got[max(0, len(got)-600):])
		}
	}
}

func TestHiddenIsWhatAReceiverCouldRepeat(t *testing.T) {
	spec := TargetSpec{
		URL:     "https://example.com/hooks/T0/very%20secret?key=0123456789&a=1",
		Secrets: []SecretSpec{{Secret: mustSecret(t, "whsec_aHVzaC1odXNo")}, {Secret: mustSecret(t, "x")}},
		Headers: map[string]string{"Authorization": "Bearer abcdefgh", "X-Env": "prod"},
	}
	u, err := Rules{}.CheckURL(spec.URL)
	if err != nil {
		t.Fatal(err)
	}
	body := `POST /hooks/T0/very%20secret?key=0123456789&a=1, /hooks/T0/very secret, key 0123456789, Bearer abcdefgh, abcdefgh, ` +
		`whsec_aHVzaC1odXNo, aHVzaC1odXNo, prod 1`
	want := `POST [redacted], [redacted], key [redacted], [redacted], [redacted], [redacted], [redacted], prod 1`
	if got := printable([]byte(body), snippetBytes, hidden(u, spec)...); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
