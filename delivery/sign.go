package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
)

const (
	popseePrefix  = "sha256="
	standardV1    = "v1,"
	signatureSize = len(popseePrefix) + 2*sha256.Size
)

// Sign gives the value of X-Popsee-Signature for a body: "sha256=" and the lower-case hex HMAC-SHA256 with the secret
// as its owner wrote it. A zero secret signs nothing and gives the empty string.
func Sign(secret Secret, body []byte) string {
	if secret.IsZero() {
		return ""
	}
	return newKey(secret.text()).popsee(body)
}

// key is one HMAC key with a pool of states already keyed by it. Keying hashes two blocks, which for a body of 1 KB is
// a third of the whole work; a state that is reset has them kept.
type key struct {
	states sync.Pool // of *state
}

type state struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	text []byte // scratch: what is signed before the body, then the encoded sum
}

func newKey(secret string) *key {
	return &key{states: sync.Pool{New: func() any {
		return &state{hash: hmac.New(sha256.New, []byte(secret)), text: make([]byte, 0, 256)}
	}}}
}

// popsee signs the body alone.
func (k *key) popsee(body []byte) string {
	s := k.states.Get().(*state)
	defer k.states.Put(s)
	s.hash.Reset()
	s.hash.Write(body)
	s.text = append(s.text[:0], popseePrefix...)
	s.text = hex.AppendEncode(s.text, s.hash.Sum(s.sum[:0]))
	return string(s.text)
}

// standard appends a Standard Webhooks signature to dst: that of "id.timestamp.body".
func (k *key) standard(dst []byte, id string, timestamp int64, body []byte) []byte {
	s := k.states.Get().(*state)
	defer k.states.Put(s)
	s.text = append(append(s.text[:0], id...), '.')
	s.text = append(strconv.AppendInt(s.text, timestamp, 10), '.')
	s.hash.Reset()
	s.hash.Write(s.text)
	s.hash.Write(body)
	dst = append(dst, standardV1...)
	return base64.StdEncoding.AppendEncode(dst, s.hash.Sum(s.sum[:0]))
}
