package main

import (
	"net/http"

	"github.com/popsee/webhooks/cmd/webhooks/internal/api"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

// api is the admin API of this service. Without a token it is closed: a page in a
// browser on this machine could speak to it otherwise.
func (v *service) api() (http.Handler, error) {
	if v.settings.Admin.Token == "" {
		return api.Closed(), nil
	}
	names, err := v.settings.Bus.Names()
	if err != nil {
		return nil, usage{err}
	}
	return api.Handler(api.Options{
		JS: v.js, Names: names, Rules: v.settings.Delivery.Rules(), Keys: v.ringNow, Client: v.clientNow, Log: v.log,
	}), nil
}

// ringNow reads the key ring as it is now, from wherever it is.
func (v *service) ringNow() (*config.Keyring, error) {
	path, _ := v.settings.KeyringPath()
	return keyringFlags{Keyring: path, Inline: v.settings.Keys.Inline, DataDir: v.settings.Embedded.DataDir}.load()
}

// clientNow is the client that delivers, nil until everything is open.
func (v *service) clientNow() *delivery.Client {
	if v.ready.Load() == nil {
		return nil
	}
	return v.client
}
