package delivery

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// readSignature gets the 32 bytes out of a header value however it was mangled, and says how. It returns nil when there
// is nothing to get.
func readSignature(signature string) ([]byte, Diagnosis) {
	s, pasted := unwrapped(signature)
	switch {
	case s == "":
		return nil, Diagnosis{"there is no signature", "read the " + HeaderSignature + " header; it is absent when the endpoint has no secret"}
	case strings.HasPrefix(s, standardV1):
		return nil, Diagnosis{
			"this is a " + HeaderStandardSignature + ", not an " + HeaderSignature,
			"it is verified with " + HeaderStandardID + " and " + HeaderStandardTimestamp + ", which are signed as well: give all three, or verify " + HeaderSignature,
		}
	}
	rest, prefix := cutPrefixFold(s, popseePrefix)
	sum, encoding := decodedSum(rest)
	if sum == nil {
		return nil, join(pasted, noSum(s, rest))
	}
	return sum, join(pasted, prefixProblem(prefix), encoding)
}

// unwrapped takes off what copying puts around a value: the header's name, quotes and blanks.
func unwrapped(value string) (string, Diagnosis) {
	s := strings.TrimSpace(value)
	d := Diagnosis{}
	if s != value {
		d = Diagnosis{"there are blanks around the signature", "trim what your framework adds"}
	}
	for _, name := range []string{HeaderSignature, HeaderStandardSignature} {
		if rest, is := cutPrefixFold(s, name+":"); is != "" {
			s, d = strings.TrimSpace(rest), Diagnosis{"the header's name is part of the signature", "give its value alone"}
		}
	}
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s, d = s[1:len(s)-1], Diagnosis{"there are quotes around the signature", "the value has none"}
	}
	return s, d
}

// cutPrefixFold cuts a prefix in whatever case, and says how it was written; empty when it is not there.
func cutPrefixFold(s, prefix string) (rest, found string) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, ""
	}
	return s[len(prefix):], s[:len(prefix)]
}

func prefixProblem(prefix string) Diagnosis {
	switch prefix {
	case popseePrefix:
		return Diagnosis{}
	case "":
		return Diagnosis{"the prefix sha256= is missing from the signature", "compare the whole header value, prefix included"}
	default:
		return Diagnosis{"the prefix sha256= is not in lower case", "compare the header value as it is sent"}
	}
}

// decodedSum reads a SHA-256 in the encodings there are, of which lower-case hex is the right one.
func decodedSum(s string) ([]byte, Diagnosis) {
	if sum, err := hex.DecodeString(s); err == nil && len(sum) == sha256.Size {
		if s != strings.ToLower(s) {
			return sum, Diagnosis{"the signature's hex digits are in upper case", "they are sent in lower case: compare them as sent"}
		}
		return sum, Diagnosis{}
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if sum, err := e.DecodeString(s); err == nil && len(sum) == sha256.Size {
			return sum, Diagnosis{"the signature is encoded in base64", "encode the HMAC in lower-case hex"}
		}
	}
	return nil, Diagnosis{}
}

// noSum says what a value is that holds no SHA-256.
func noSum(s, rest string) Diagnosis {
	advice := "copy the whole value of the " + HeaderSignature + " header: sha256= and 64 lower-case hex digits"
	_, err := hex.DecodeString(rest + strings.Repeat("0", len(rest)%2))
	switch {
	case strings.Count(strings.ToLower(s), popseePrefix) > 1:
		return Diagnosis{"these are several signatures in one: there is one value, always", "something joins headers; it should not"}
	case err == nil && len(rest) > 0:
		if hash := map[int]string{32: "MD5", 40: "SHA-1", 56: "SHA-224", 96: "SHA-384", 128: "SHA-512"}[len(rest)]; hash != "" {
			return Diagnosis{fmt.Sprintf("this is not a signature: %d hex digits are as many as %s has, SHA-256 has 64", len(rest), hash), "use HMAC-SHA256"}
		}
		return Diagnosis{fmt.Sprintf("this is not a signature: it has %d hex digits, want 64", len(rest)), advice}
	default:
		return Diagnosis{"this is not a signature: want sha256= and 64 lower-case hex digits", advice}
	}
}
