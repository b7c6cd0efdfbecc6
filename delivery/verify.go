package delivery

import (
	"crypto/hmac"
	"errors"
	"strings"
)

// What Verify answers when a signature is not good. A receiver answers all of them with 401; they are apart so that
// whoever sets one up can see which mistake was made.
var (
	ErrNoSecret           = errors.New("no secret to verify with")
	ErrSignatureMissing   = errors.New("no signature: the " + HeaderSignature + " header is empty")
	ErrSignatureMalformed = errors.New("not a signature: want sha256= and 64 lower-case hex digits")
	ErrSignatureMismatch  = errors.New("signature does not match: another secret, or not the bytes that were sent")
)

// Verify checks the value of X-Popsee-Signature against the raw body, in time that does not depend on where they
// differ. The body must be the bytes as received: decoding and encoding JSON again changes them.
func Verify(secret Secret, signature string, body []byte) error {
	switch {
	case secret.IsZero():
		return ErrNoSecret
	case signature == "":
		return ErrSignatureMissing
	case !wellFormed(signature):
		return ErrSignatureMalformed
	case !hmac.Equal([]byte(Sign(secret, body)), []byte(signature)):
		return ErrSignatureMismatch
	}
	return nil
}

// wellFormed looks at the shape alone, which is no secret, so it need not be constant in time.
func wellFormed(signature string) bool {
	digits, ok := strings.CutPrefix(signature, popseePrefix)
	return ok && len(signature) == signatureSize && strings.Trim(digits, "0123456789abcdef") == ""
}
