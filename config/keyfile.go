package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const maxKeyFileBytes = 64 << 10

// LoadKeyring reads a key ring file, which nobody but the service may read.
func LoadKeyring(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := checkPrivate(f); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFileBytes))
	if err != nil {
		return nil, fmt.Errorf("read key ring: %w", err)
	}
	k, err := ParseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("key ring %s: %w", path, err)
	}
	return k, nil
}

// LoadOrCreateKeyring reads a key ring file and makes one with a new key where
// there is none; created says that it did. Processes that do this at the same
// time end with the same ring.
func LoadOrCreateKeyring(path string) (k *Keyring, created bool, err error) {
	k, err = LoadKeyring(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	key, err := GenerateKey()
	if err != nil {
		return nil, false, err
	}
	if k, err = NewKeyring(key); err != nil {
		return nil, false, err
	}
	err = CreateKeyring(path, k)
	if errors.Is(err, fs.ErrExist) { // another process was first
		k, err = LoadKeyring(path)
		return k, false, err
	}
	if err != nil {
		return nil, false, err
	}
	return k, true, nil
}

// CreateKeyring writes a new key ring file, which is there whole and durable or
// not at all. It never replaces one: that would lose every sealed secret.
func CreateKeyring(path string, k *Keyring) error {
	return placeKeyring(path, k, os.Link)
}

// ReplaceKeyring writes a key ring file in place of the one that is there.
func ReplaceKeyring(path string, k *Keyring) error {
	return placeKeyring(path, k, os.Rename)
}

// placeKeyring writes beside the path first. Linking it into place is the one
// step that is atomic and also refuses to replace what is there.
func placeKeyring(path string, k *Keyring, into func(temporary, path string) error) error {
	b, err := k.Encode()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create key ring: %w", err)
	}
	temporary, err := writeDurably(dir, b)
	if err != nil {
		return fmt.Errorf("create key ring: %w", err)
	}
	defer func() { _ = os.Remove(temporary) }() // after a rename it is gone already
	if err := into(temporary, path); err != nil {
		return fmt.Errorf("create key ring: %w", err)
	}
	return syncDir(dir)
}

// writeDurably writes a file that only its owner can read, as os.CreateTemp
// makes them, and returns its name when it is on disk.
func writeDurably(dir string, b []byte) (string, error) {
	f, err := os.CreateTemp(dir, ".keyring-*")
	if err != nil {
		return "", err
	}
	_, werr := f.Write(b)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
