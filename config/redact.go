package config

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// Redacted is where NATS is, fit to be shown.
func (n NATSSettings) Redacted() string { return RedactServers(n.URL) }

// RedactServers makes a list of addresses, of NATS servers or of their monitoring
// endpoints, fit to be shown: without users, passwords, tokens and queries. What is
// no address shows nothing of itself, because it may be half of a password that has
// a comma in it.
func RedactServers(list string) string {
	if list == "" {
		return ""
	}
	servers := strings.Split(list, ",")
	for i, s := range servers {
		servers[i] = redactServer(strings.TrimSpace(s))
	}
	return strings.Join(servers, ",")
}

const withheld = "***"

func redactServer(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if found {
		scheme += "://"
	} else {
		scheme, rest = "", s
	}
	who := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 { // the last: a password may hold one
		who, rest = withheld+"@", rest[at+1:]
	}
	u, err := url.Parse("nats://" + rest)
	if err != nil || u.Host == "" || u.User != nil {
		if who == "" && rest == "" {
			return s
		}
		return scheme + who + withheld
	}
	return scheme + who + u.Host + u.EscapedPath()
}

// seed is what an NKey seed looks like: it is a secret that some give where the
// name of its file is wanted.
var seed = regexp.MustCompile(`^S[ACNOUX][A-Z2-7]{56}$`)

// IsSeed says whether a text is an NKey seed, which must not be shown.
func IsSeed(text string) bool { return seed.MatchString(strings.TrimSpace(text)) }

// UnquotedURL is an error without the URL that it quotes, which may hold a
// password: what is wrong with it remains.
func UnquotedURL(err error) error {
	quoting, is := errors.AsType[*url.Error](err)
	if !is {
		return err
	}
	if quoting.Op == "parse" { // its cause may quote a part of what could not be parsed
		return errors.New("a server address is not a URL")
	}
	return quoting.Err
}
