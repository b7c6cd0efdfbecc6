package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// secretFlags are the two ways to give an endpoint a secret. There is no flag
// that takes its value: process lists and shell histories would keep it.
type secretFlags struct {
	SecretFile     string `name:"secret-file" placeholder:"FILE" help:"File with the secret that signs the requests, or - for the standard input."`
	GenerateSecret bool   `name:"generate-secret" help:"Make a secret and print it once."`
}

// generatedBytes is the entropy of a secret we make: 24 bytes, as Standard
// Webhooks recommends.
const generatedBytes = 24

// seal reads or makes the secret and seals it for a survey; nil when none was
// asked for.
func (f secretFlags) seal(w *world, k keyringFlags, survey events.Survey) (*config.SealedSecret, error) {
	secret, err := f.secret(w)
	if err != nil || secret.IsZero() {
		return nil, err
	}
	keys, err := k.load()
	if err != nil {
		return nil, err
	}
	sealed, err := keys.Seal(survey, secret)
	return &sealed, err
}

// secret is the one asked for; the zero one when none was.
func (f secretFlags) secret(w *world) (delivery.Secret, error) {
	switch {
	case f.SecretFile != "" && f.GenerateSecret:
		return delivery.Secret{}, usage{errors.New("--secret-file and --generate-secret: only one of them")}
	case f.SecretFile != "":
		return w.readSecret(f.SecretFile)
	case f.GenerateSecret:
		b := make([]byte, generatedBytes)
		if _, err := rand.Read(b); err != nil {
			return delivery.Secret{}, err
		}
		text := "whsec_" + base64.StdEncoding.EncodeToString(b)
		w.printf("secret (shown once, give it to the receiver): %s\n", text)
		return delivery.NewSecret(text)
	default:
		return delivery.Secret{}, nil
	}
}
