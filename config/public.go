package config

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Sealer seals secrets: a [Keyring], or a [PublicKeyring], which can do nothing
// else.
type Sealer interface {
	Seal(events.Survey, delivery.Secret) (SealedSecret, error)
}

// PublicKey is the half of a [Key] that only seals.
type PublicKey struct {
	ID  string
	key hpke.PublicKey
}

func (k PublicKey) entry() keyEntry {
	return keyEntry{ID: k.ID, Public: base64.StdEncoding.EncodeToString(k.key.Bytes())}
}

// PublicKeyring seals secrets and cannot open them: what the survey platform
// needs to write endpoints.
type PublicKeyring struct {
	keys []PublicKey // newest first; at least one
}

// ParsePublicKeyring reads what [PublicKeyring.Encode] wrote. A private ring is
// refused: whoever only seals must not hold it.
func ParsePublicKeyring(b []byte) (*PublicKeyring, error) {
	entries, err := parseKeyFile(b)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || len(entries) > maxKeys {
		return nil, fmt.Errorf("key ring of %d keys, not between 1 and %d", len(entries), maxKeys)
	}
	p := &PublicKeyring{}
	for i, e := range entries {
		k, err := e.publicKey()
		if err != nil {
			return nil, fmt.Errorf("key %d of the ring: %w", i+1, err)
		}
		p.keys = append(p.keys, k)
	}
	return p, nil
}

func (e keyEntry) publicKey() (PublicKey, error) {
	if e.Private != "" {
		return PublicKey{}, withHint(errors.New("it is a private key"), "export the public ring with: webhooks keys public")
	}
	b, err := base64.StdEncoding.DecodeString(e.Public)
	if err != nil {
		return PublicKey{}, errors.New("public key is not base64")
	}
	key, err := sealKEM().NewPublicKey(b)
	if err != nil {
		return PublicKey{}, errors.New("public key is not an X25519 key")
	}
	if id := keyID(key); e.ID != id {
		return PublicKey{}, fmt.Errorf("id does not belong to the key, which is %s", id)
	}
	return PublicKey{ID: e.ID, key: key}, nil
}

// Encode returns the ring as JSON. Nothing in it is secret.
func (p *PublicKeyring) Encode() ([]byte, error) {
	f := keyFile{}
	for _, k := range p.keys {
		f.Keys = append(f.Keys, k.entry())
	}
	return encodeKeyFile(f)
}

// IDs lists the keys, the one that seals first.
func (p *PublicKeyring) IDs() []string {
	ids := make([]string, len(p.keys))
	for i, k := range p.keys {
		ids[i] = k.ID
	}
	return ids
}

// Seal seals a secret of one survey with the newest key.
func (p *PublicKeyring) Seal(s events.Survey, secret delivery.Secret) (SealedSecret, error) {
	return seal(p.keys[0], s, secret)
}
