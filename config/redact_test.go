package config_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/popsee/webhooks/config"
)

func TestAddressesAreShownWithoutWhoeverAsks(t *testing.T) {
	for list, want := range map[string]string{
		"":                                   "",
		"nats://a:4222,b,tls://c":            "nats://a:4222,b,tls://c",
		"nats://token@a:4222":                "nats://***@a:4222",
		"token@a":                            "***@a",
		"nats://me:pass@a, nats://b":         "nats://***@a,nats://b",
		"nats://me:p@ss@a":                   "nats://***@a",
		"nats://me:pa,ss@a":                  "nats://***,***@a",
		"nats://me:p ss@a/x?token=secret#me": "nats://***@a/x",
		"http://a:8222/?key=secret":          "http://a:8222/",
		"nats://me:secret":                   "nats://***",
	} {
		if got := config.RedactServers(list); got != want {
			t.Errorf("%q is shown as %q, want %q", list, got, want)
		}
	}
}

func TestAnErrorDoesNotQuoteTheURL(t *testing.T) {
	_, err := url.Parse(strings.Join([]string{"nats://me:secret ", "a:b"}, "@"))
	if err == nil || strings.Contains(config.UnquotedURL(err).Error(), "secret") {
		t.Errorf("got %v", config.UnquotedURL(err))
	}
	cause := errors.New("refused")
	if got := config.UnquotedURL(&url.Error{Op: "Get", URL: "http://me:secret@a", Err: cause}); got != cause { //nolint:errorlint // the very same
		t.Errorf("got %v", got)
	}
}
