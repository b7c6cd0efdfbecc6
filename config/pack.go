package config

import (
	"strings"

	"github.com/klauspost/compress/s2"
)

// packer shrinks stored values by a third: most of a value is the words that
// every endpoint has, and those are in its dictionary.
type packer struct{ dict *s2.Dict }

// packWords looks like endpoints look. It may change at any time: packed
// values live only in memory.
const packWords = `,"headers":{"Authorization":"Bearer ","X-Api-Key":"","max_in_flight":10,"rate_per_second":100,` +
	`"description":"Endpoint of the survey webhook","expires_at":"2026-01-01T00:00:00Z"},{"key_id":"` +
	`"}],"enabled":false,"updated_at":"2027-01-01T00:00:00.000Z"}` +
	`{"url":"http://www.example.com/webhook","secrets":[{"key_id":"` +
	`{"url":"https://hooks.example.com/api/v1/webhooks/popsee/surveys/responses","secrets":[{"key_id":"` +
	`","sealed":"=="}],"enabled":true,"updated_at":"2026-01-01T00:00:00.000Z"}`

// newPacker makes a packer that also knows the ids of the keys most secrets are
// sealed with.
func newPacker(keys *Keyring) packer {
	words := packWords
	if keys != nil {
		words = strings.Join(keys.IDs(), `"},{"key_id":"`) + words
	}
	return packer{s2.MakeDict([]byte(words), []byte(`{"url":"https://`))}
}

// pack packs into buf, if that is large enough.
func (p packer) pack(buf, value []byte) []byte { return p.dict.Encode(buf, value) }

// unpack copies a value out of its arena.
func (p packer) unpack(packed []byte) []byte {
	value, err := p.dict.Decode(nil, packed)
	if err != nil {
		return nil // cannot be: this process packed it; an empty value is an invalid endpoint
	}
	return value
}
