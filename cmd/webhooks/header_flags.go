package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// headerFlags are extra request headers, NAME=VALUE each. The parser's own way with
// maps quotes what it cannot read, which of a header is often a credential.
type headerFlags map[string]string

// Decode implements kong.MapperValue.
func (h *headerFlags) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("NAME=VALUE", &text); err != nil {
		return errors.New("want NAME=VALUE, and there is nothing")
	}
	if *h == nil {
		*h = headerFlags{}
	}
	for _, one := range kong.SplitEscaped(text, ctx.Value.Tag.MapSep) {
		name, value, found := strings.Cut(one, "=")
		if !found {
			return errors.New("want NAME=VALUE; what was given has no = and is not shown here, because it may be a credential")
		}
		(*h)[name] = value
	}
	return nil
}

// credentialFlags are the flags whose values may be, or hold, something secret.
var credentialFlags = []string{"header", "nats-url", "server", "nats-user", "nats-password", "nats-nkey", "nkey", "nats-monitor", "admin-token", "keyring-json", "url"}

func mayHoldCredential(flag string) bool {
	name, _, _ := strings.Cut(flag, "=")
	return slices.Contains(credentialFlags, name)
}

// leastCredential is how long a word must be to be taken for a credential: shorter
// ones are letters of every message.
const leastCredential = 4

// withoutCredentials is an error of the command line without what stands behind a
// flag that may hold a credential, up to the next flag: who forgets the quotes of
// --header Authorization="Bearer …" has the parser quote the credential for an
// argument that it did not expect.
func withoutCredentials(args []string, err error) error {
	text, found, behind := err.Error(), false, false
	for _, arg := range args {
		word := arg
		if flag, is := strings.CutPrefix(arg, "--"); is {
			behind = mayHoldCredential(flag)
			_, word, _ = strings.Cut(flag, "=")
		}
		if behind && len(word) >= leastCredential && strings.Contains(text, word) {
			text, found = strings.ReplaceAll(text, word, "…"), true
		}
	}
	if !found {
		return err
	}
	return redactedError{err, text}
}

// redactedError is an error that says less than it knows.
type redactedError struct {
	error
	text string
}

func (r redactedError) Error() string { return r.text }
func (r redactedError) Unwrap() error { return r.error }
