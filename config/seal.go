package config

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// How secrets are sealed: HPKE (RFC 9180) base mode with X25519, HKDF-SHA256
// and AES-256-GCM. The survey id is the additional data, so that a sealed
// secret copied to another survey does not open there.
const (
	sealInfo = "popsee-webhooks endpoint secret v1"

	encBytes  = 32 // X25519's encapsulated key
	tagBytes  = 16 // AES-GCM's tag
	minSealed = encBytes + tagBytes + 1
	maxSealed = encBytes + tagBytes + maxSecretBytes

	maxSecretBytes = 512 // what delivery.NewSecret takes
)

func sealKEM() hpke.KEM   { return hpke.DHKEM(ecdh.X25519()) }
func sealKDF() hpke.KDF   { return hpke.HKDFSHA256() }
func sealAEAD() hpke.AEAD { return hpke.AES256GCM() }

// SealedSecret is a secret that only the holder of the private key KeyID can
// read. It is safe to store, to log and to show.
type SealedSecret struct {
	KeyID     string     `json:"key_id"`
	Sealed    string     `json:"sealed"` // base64 of the encapsulated key and the ciphertext, one after the other
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// Expired says whether the secret no longer signs at the given time.
func (s SealedSecret) Expired(now time.Time) bool {
	return s.ExpiresAt != nil && !now.Before(*s.ExpiresAt)
}

func (s SealedSecret) validate() error {
	if !validKeyID(s.KeyID) {
		return fmt.Errorf("key_id: not %d lower-case hexadecimal digits", keyIDDigits)
	}
	_, err := s.bytes()
	return err
}

// bytes never quotes what it could not read: it may be a secret that somebody
// forgot to seal.
func (s SealedSecret) bytes() ([]byte, error) {
	if strings.ContainsAny(s.Sealed, "\r\n") {
		return nil, errors.New("sealed: line breaks are not allowed")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s.Sealed)
	if err != nil {
		return nil, errors.New("sealed: not base64; secrets are stored sealed, never as they are")
	}
	if len(b) < minSealed || len(b) > maxSealed {
		return nil, fmt.Errorf("sealed: %d bytes, not between %d and %d", len(b), minSealed, maxSealed)
	}
	return b, nil
}

func seal(k PublicKey, s events.Survey, secret delivery.Secret) (SealedSecret, error) {
	enc, sender, err := hpke.NewSender(k.key, sealKDF(), sealAEAD(), []byte(sealInfo))
	if err != nil {
		return SealedSecret{}, fmt.Errorf("seal secret with key %s: %w", k.ID, err)
	}
	ciphertext, err := sender.Seal([]byte(s), secret.Reveal())
	if err != nil {
		return SealedSecret{}, fmt.Errorf("seal secret with key %s: %w", k.ID, err)
	}
	return SealedSecret{KeyID: k.ID, Sealed: base64.StdEncoding.EncodeToString(append(enc, ciphertext...))}, nil
}

func unseal(k Key, s events.Survey, sealed SealedSecret) (delivery.Secret, error) {
	b, err := sealed.bytes()
	if err != nil {
		return delivery.Secret{}, fmt.Errorf("%w: %w", ErrUnsealable, err)
	}
	r, err := hpke.NewRecipient(b[:encBytes], k.private, sealKDF(), sealAEAD(), []byte(sealInfo))
	if err != nil {
		return delivery.Secret{}, fmt.Errorf("%w: key %s: %w", ErrUnsealable, k.ID, err)
	}
	plain, err := r.Open([]byte(s), b[encBytes:])
	if err != nil {
		return delivery.Secret{}, fmt.Errorf("%w: sealed with another key than %s, or for another survey than %s", ErrUnsealable, k.ID, s)
	}
	secret, err := delivery.NewSecret(string(plain))
	if err != nil {
		return delivery.Secret{}, fmt.Errorf("%w: what was sealed is not a usable secret", ErrUnsealable)
	}
	return secret, nil
}
