package config

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/klauspost/compress/s2"
)

// packer halves stored values: most of a value is the words that every endpoint
// has, and those are in its dictionary, and sealed secrets, which nothing shrinks
// but to write them as bytes instead of base64. What is packed looks like this:
//
//	how many secrets were cut out, and of each: its place in the text, its length
//	their bytes, one after the other
//	the text without them, compressed
type packer struct{ dict *s2.Dict }

// packWords looks like endpoints look. It may change at any time: packed
// values live only in memory.
const packWords = `,"headers":{"Authorization":"Bearer ","X-Api-Key":"","max_in_flight":10,"rate_per_second":100,` +
	`"description":"Endpoint of the survey webhook","expires_at":"2026-01-01T00:00:00Z"},{"key_id":"` +
	`""}],"enabled":false,"updated_at":"2027-01-01T00:00:00.000Z"}` +
	`{"url":"http://www.example.com/webhook","secrets":[{"key_id":"` +
	`{"url":"https://hooks.example.com/api/v1/webhooks/popsee/surveys/responses","secrets":[{"key_id":"` +
	`","sealed":""}],"enabled":true,"updated_at":"2026-01-01T00:00:00.000Z"}`

// newPacker makes a packer that also knows the ids of the keys most secrets are
// sealed with.
func newPacker(keys *Keyring) packer {
	words := packWords
	if keys != nil {
		words = strings.Join(keys.IDs(), `"},{"key_id":"`) + words
	}
	return packer{s2.MakeDict([]byte(words), []byte(`{"url":"https://`))}
}

// scratch is used again for every value that is packed.
type scratch struct{ packed, secrets, text, block []byte }

var (
	sealedMark   = []byte(`"sealed":"`)
	strictBase64 = base64.StdEncoding.Strict() // writes what it has read as it was
)

// pack packs a value. The result is good until the scratch is used again.
func (p packer) pack(s *scratch, value []byte) []byte {
	s.cut(value)
	if room := s2.MaxEncodedLen(len(s.text)); cap(s.block) < room {
		s.block = make([]byte, room)
	}
	s.block = p.dict.Encode(s.block[:cap(s.block)], s.text)
	s.packed = append(s.packed, s.secrets...)
	s.packed = append(s.packed, s.block...)
	return s.packed
}

// cut parts a value's secrets from its text.
func (s *scratch) cut(value []byte) {
	s.packed, s.secrets, s.text = append(s.packed[:0], 0), s.secrets[:0], s.text[:0]
	for s.packed[0] < math.MaxUint8 {
		before, behind, found := bytes.Cut(value, sealedMark)
		end := bytes.IndexByte(behind, '"')
		if !found || end < 0 {
			break
		}
		s.text = append(append(s.text, before...), sealedMark...)
		s.secret(behind[:end])
		value = behind[end:]
	}
	s.text = append(s.text, value...)
}

// secret cuts one out, unless base64 would not give it back as it is.
func (s *scratch) secret(sealed []byte) {
	secrets, err := strictBase64.AppendDecode(s.secrets, sealed)
	n := len(secrets) - len(s.secrets)
	if err != nil || strictBase64.EncodedLen(n) != len(sealed) {
		s.text = append(s.text, sealed...)
		return
	}
	s.secrets = secrets
	s.packed[0]++
	s.packed = binary.AppendUvarint(s.packed, uint64(len(s.text)))
	s.packed = binary.AppendUvarint(s.packed, uint64(n)) //nolint:gosec // never negative
}

// unpack copies a value out of its arena. What cannot be read cannot be, because
// this process packed it; an empty value is an invalid endpoint.
func (p packer) unpack(packed []byte) []byte {
	if len(packed) == 0 {
		return nil
	}
	places, secrets := make([]uint64, packed[0]), make([]uint64, packed[0])
	packed = packed[1:]
	var all uint64
	for i := range places {
		var ns [2]int
		if places[i], ns[0] = binary.Uvarint(packed); ns[0] <= 0 {
			return nil
		}
		if secrets[i], ns[1] = binary.Uvarint(packed[ns[0]:]); ns[1] <= 0 {
			return nil
		}
		packed = packed[ns[0]+ns[1]:]
		all += secrets[i]
	}
	text, err := p.dict.Decode(nil, packed[all:])
	if err != nil {
		return nil
	}
	value, from := make([]byte, 0, len(text)+strictBase64.EncodedLen(int(all)+3*len(places))), uint64(0)
	for i, place := range places {
		value = append(value, text[from:place]...)
		value = strictBase64.AppendEncode(value, packed[:secrets[i]])
		packed, from = packed[secrets[i]:], place
	}
	return append(value, text[from:]...)
}
