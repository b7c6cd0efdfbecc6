package config

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// keyIDDigits is 8 bytes of a hash: enough that no two keys of a ring ever
// share an id, short enough to compare by eye.
const keyIDDigits = 16

// maxKeys bounds a ring. A ring holds the key in use and those not yet rotated
// away.
const maxKeys = 16

// Key is a private key with which secrets are opened. It prints as its id.
type Key struct {
	ID        string // derived from the public key, so that it cannot be mixed up
	CreatedAt time.Time
	private   hpke.PrivateKey
}

// String names the key without telling it.
func (k Key) String() string { return "key(" + k.ID + ")" }

// GoString names the key without telling it.
func (k Key) GoString() string { return k.String() }

// GenerateKey makes a new key pair.
func GenerateKey() (Key, error) {
	private, err := sealKEM().GenerateKey()
	if err != nil {
		return Key{}, fmt.Errorf("generate key: %w", err)
	}
	return newKey(private, time.Now().UTC().Truncate(time.Second)), nil
}

func newKey(private hpke.PrivateKey, created time.Time) Key {
	return Key{ID: keyID(private.PublicKey()), CreatedAt: created, private: private}
}

// Public returns the half that only seals.
func (k Key) Public() PublicKey { return PublicKey{ID: k.ID, key: k.private.PublicKey()} }

func keyID(k hpke.PublicKey) string {
	sum := sha256.Sum256(k.Bytes())
	return hex.EncodeToString(sum[:keyIDDigits/2])
}

func validKeyID(id string) bool {
	return len(id) == keyIDDigits && strings.Trim(id, "0123456789abcdef") == ""
}

// Keyring opens the secrets of endpoints, and seals with its first key. It is
// immutable and safe for concurrent use. It prints as the ids of its keys.
type Keyring struct {
	keys []Key // newest first; at least one
}

// NewKeyring makes a ring of keys, the one to seal with first.
func NewKeyring(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("key ring of %d keys, not between 1 and %d", len(keys), maxKeys)
	}
	for i, k := range keys {
		if k.private == nil {
			return nil, fmt.Errorf("key %d of the ring is empty", i+1)
		}
		if slices.ContainsFunc(keys[:i], func(o Key) bool { return o.ID == k.ID }) {
			return nil, fmt.Errorf("key %s is in the ring twice", k.ID)
		}
	}
	return &Keyring{keys: slices.Clone(keys)}, nil
}

// keyFile is a key ring, private or public, as it is stored.
type keyFile struct {
	Keys []keyEntry `json:"keys"`
}

type keyEntry struct {
	ID        string    `json:"id"`
	Private   string    `json:"private,omitempty"`
	Public    string    `json:"public"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// ParseKeyring reads what [Keyring.Encode] wrote. Errors never quote it.
func ParseKeyring(b []byte) (*Keyring, error) {
	entries, err := parseKeyFile(b)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(entries))
	for i, e := range entries {
		if keys[i], err = e.key(); err != nil {
			return nil, fmt.Errorf("key %d of the ring: %w", i+1, err)
		}
	}
	return NewKeyring(keys...)
}

func parseKeyFile(b []byte) ([]keyEntry, error) {
	var f keyFile
	if err := describe(json.Unmarshal(b, &f, json.RejectUnknownMembers(true))); err != nil {
		return nil, fmt.Errorf("read key ring: %w", err)
	}
	return f.Keys, nil
}

func (e keyEntry) key() (Key, error) {
	if e.Private == "" {
		return Key{}, withHint(errors.New("private key is missing"), "this is a public key ring, which only seals; the service needs the private one")
	}
	b, err := base64.StdEncoding.DecodeString(e.Private)
	if err != nil {
		return Key{}, errors.New("private key is not base64")
	}
	private, err := sealKEM().NewPrivateKey(b)
	if err != nil {
		return Key{}, errors.New("private key is not an X25519 key")
	}
	k := newKey(private, e.CreatedAt)
	if e.ID != k.ID {
		return Key{}, fmt.Errorf("id does not belong to the key, which is %s", k.ID)
	}
	return k, nil
}

// Encode returns the ring with its private keys, for a file that only the
// service can read.
func (k *Keyring) Encode() ([]byte, error) {
	f := keyFile{}
	for _, key := range k.keys {
		b, err := key.private.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encode key %s: %w", key.ID, err)
		}
		e := key.Public().entry()
		e.Private, e.CreatedAt = base64.StdEncoding.EncodeToString(b), key.CreatedAt
		f.Keys = append(f.Keys, e)
	}
	return encodeKeyFile(f)
}

func encodeKeyFile(f keyFile) ([]byte, error) {
	b, err := json.Marshal(f, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("encode key ring: %w", err)
	}
	return append(b, '\n'), nil
}

// IDs lists the keys, the one that seals first.
func (k *Keyring) IDs() []string {
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.ID
	}
	return ids
}

// Keys lists the keys, the one that seals first.
func (k *Keyring) Keys() []Key { return slices.Clone(k.keys) }

// String lists the ids of the keys.
func (k *Keyring) String() string { return "keyring(" + strings.Join(k.IDs(), " ") + ")" }

// GoString lists the ids of the keys.
func (k *Keyring) GoString() string { return k.String() }

// MarshalJSON lists the ids of the keys: a ring that ends up in a log or an
// answer tells nothing. To store it, use [Keyring.Encode].
func (k *Keyring) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// Rotate returns a ring that seals with a new key and still opens what the old
// ones sealed.
func (k *Keyring) Rotate(newest Key) (*Keyring, error) {
	return NewKeyring(append([]Key{newest}, k.keys...)...)
}

// Remove returns a ring without one key. What it sealed cannot be opened again.
func (k *Keyring) Remove(id string) (*Keyring, error) {
	if !slices.Contains(k.IDs(), id) {
		return nil, fmt.Errorf("key %s is not in the ring", id)
	}
	return NewKeyring(slices.DeleteFunc(k.Keys(), func(key Key) bool { return key.ID == id })...)
}

// Seal seals a secret of one survey with the newest key.
func (k *Keyring) Seal(s events.Survey, secret delivery.Secret) (SealedSecret, error) {
	return seal(k.keys[0].Public(), s, secret)
}

// Open opens a sealed secret of one survey. The error is an [ErrUnsealable]
// that names the key which is missing.
func (k *Keyring) Open(s events.Survey, sealed SealedSecret) (delivery.Secret, error) {
	i := slices.IndexFunc(k.keys, func(key Key) bool { return key.ID == sealed.KeyID })
	if i < 0 {
		return delivery.Secret{}, fmt.Errorf("%w: key %s is not in the ring, which holds %s", ErrUnsealable, place(jsontext.Pointer(sealed.KeyID)), strings.Join(k.IDs(), ", "))
	}
	return unseal(k.keys[i], s, sealed)
}

// Reseal seals a secret with the newest key, if an older one holds it.
func (k *Keyring) Reseal(s events.Survey, sealed SealedSecret) (SealedSecret, error) {
	if sealed.KeyID == k.keys[0].ID {
		return sealed, nil
	}
	secret, err := k.Open(s, sealed)
	if err != nil {
		return SealedSecret{}, err
	}
	again, err := k.Seal(s, secret)
	again.ExpiresAt = sealed.ExpiresAt
	return again, err
}

// Public returns the ring that only seals, to give to those who write
// endpoints.
func (k *Keyring) Public() *PublicKeyring {
	p := &PublicKeyring{keys: make([]PublicKey, len(k.keys))}
	for i, key := range k.keys {
		p.keys[i] = key.Public()
	}
	return p
}
