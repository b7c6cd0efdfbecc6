package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// Diagnosis is why a signature does not verify, in words for whoever set the receiver up.
type Diagnosis struct {
	Problem string // what is wrong; empty when nothing is
	Advice  string // what to do about it
}

// Diagnose says why an X-Popsee-Signature does not match a body and a secret: it tries the mistakes that receivers make,
// one and two at a time, and names those that explain the signature. The zero Diagnosis means that it verifies.
//
// It is for people who develop a receiver, not for receivers: it is slow and not constant in time.
func Diagnose(secret Secret, signature string, body []byte) Diagnosis {
	sum, problem := readSignature(signature)
	if sum == nil {
		return problem
	}
	found, ok := explained(secret, body, func(key, body []byte) bool { return hmac.Equal(sum, mac(key, body)) }, secretMistakes)
	if !ok {
		found, ok = otherHash(secret, sum, body)
	}
	if !ok {
		found = unexplained(body)
	}
	return join(problem, found)
}

// maxPairs is the size of a body up to which two mistakes at once are looked for.
const maxPairs = 256 << 10

// explained looks for the mistakes that make a signature match: in the secret, in the body, or in both.
func explained(secret Secret, body []byte, matches func(key, body []byte) bool, mistakesOf func(Secret) []mistake) (Diagnosis, bool) {
	bodies := bodyMistakes(body)
	for i, s := range mistakesOf(secret) {
		for j, b := range bodies {
			if i > 0 && j > 0 && len(body) > maxPairs {
				break
			}
			if matches(s.bytes, b.bytes) {
				return join(s.Diagnosis, b.Diagnosis), true
			}
		}
	}
	return Diagnosis{}, false
}

func mac(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

// otherHash names the ways to use SHA-256 on a secret and a body that are no HMAC, or one the wrong way round.
func otherHash(secret Secret, sum, body []byte) (Diagnosis, bool) {
	text := secret.Reveal()
	hashed := func(parts ...[]byte) []byte {
		h := sha256.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	const advice = "use your language's HMAC function with SHA-256: the secret is its key, the body its message"
	for problem, made := range map[string][]byte{
		"this is the HMAC with key and message exchanged":                                 mac(body, text),
		"this is the SHA-256 of the body, without the secret":                             hashed(body),
		"this is the SHA-256 of the secret and the body one after the other, and no HMAC": hashed(text, body),
		"this is the SHA-256 of the body and the secret one after the other, and no HMAC": hashed(body, text),
	} {
		if hmac.Equal(sum, made) {
			return Diagnosis{problem, advice}, true
		}
	}
	return Diagnosis{}, false
}

// unexplained is what is left to say: that nothing fits, and what is odd about the body.
func unexplained(body []byte) Diagnosis {
	d := Diagnosis{"the signature was not made from this body with this secret", "compare the secret with the one configured for the survey; " +
		"and verify the bytes as they arrived, before anything has parsed or decoded them"}
	return join(d, oddities(body))
}

// join puts what was found together; nothing found is the zero Diagnosis.
func join(all ...Diagnosis) Diagnosis {
	var problems, advice []string
	for _, d := range all {
		if d.Problem != "" {
			problems = append(problems, d.Problem)
		}
		if d.Advice != "" {
			advice = append(advice, d.Advice)
		}
	}
	return Diagnosis{strings.Join(problems, "; and "), strings.Join(advice, "; ")}
}

// mistake is what a key or a body becomes by one.
type mistake struct {
	bytes []byte
	Diagnosis
}
