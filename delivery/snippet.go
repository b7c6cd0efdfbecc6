package delivery

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	snippetBytes = 2 << 10
	detailBytes  = 256
	redacted     = "[redacted]"

	// A needle that starts in the last byte of the snippet must lie within the window to be found whole.
	windowBytes = snippetBytes + maxURLBytes

	// Shorter paths, queries and header values are no secrets, and hiding "1" would make the rest unreadable.
	minHidden = 8
)

// hidden gathers what an attempt must not repeat when a receiver prints what it was sent.
func hidden(u *url.URL, s TargetSpec) []string {
	var hide []string
	for _, secret := range s.Secrets {
		if secret.Secret.IsZero() {
			continue // refused by the caller
		}
		// A receiver that decodes a whsec_ secret may print the key itself.
		hide = append(hide, secret.Secret.text(), strings.TrimPrefix(secret.Secret.text(), standardPrefix), (*secret.Secret.keys).standard)
	}
	maybe := []string{u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery}
	for _, values := range u.Query() {
		maybe = append(maybe, values...)
	}
	for _, value := range s.Headers {
		_, credential, _ := strings.Cut(value, " ") // what follows "Bearer" or "Basic"
		maybe = append(maybe, value, credential)
	}
	for _, m := range maybe {
		if len(m) >= minHidden {
			hide = append(hide, m)
		}
	}
	slices.SortFunc(hide, func(a, b string) int { return len(b) - len(a) }) // the longest match wins
	return slices.Compact(hide)
}

// printable makes text from outside safe to keep and to print: what is hidden is replaced, line breaks become blanks,
// and what no terminal should be given becomes U+FFFD. Only what starts in the first limit bytes is kept, and no more
// than limit bytes of it.
func printable(text []byte, limit int, hide ...string) string {
	return tidy(redact(string(text), limit, hide), limit)
}

// redact looks for each needle once, which is cheap, and walks the text only when there is one.
func redact(text string, limit int, hide []string) string {
	present := hide[:0:0]
	for _, needle := range hide {
		if needle != "" && strings.Contains(text, needle) {
			present = append(present, needle)
		}
	}
	if len(present) == 0 {
		return text[:min(len(text), limit)]
	}
	var b strings.Builder
	for i := 0; i < min(len(text), limit); {
		n := match(text[i:], present)
		if n == 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(redacted)
		i += n
	}
	return b.String()
}

func match(text string, needles []string) int {
	for _, needle := range needles {
		if strings.HasPrefix(text, needle) {
			return len(needle)
		}
	}
	return 0
}

// tidy cuts between characters, never inside one.
func tidy(text string, limit int) string {
	if len(text) <= limit && !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unprintable(r) {
			r = plainly(r)
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unprintable is true of control and format characters, of those that turn the direction of writing too, and of the
// U+FFFD that invalid UTF-8 decodes to, so that it gets written out as one.
func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func plainly(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	return utf8.RuneError
}
