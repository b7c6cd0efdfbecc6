package delivery

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const maxURLBytes = 2048

// Rules say where webhooks may go. The zero value is the safe one: https to public addresses.
type Rules struct {
	AllowInsecure bool           // http and loopback too; for development alone
	Allow         []netip.Prefix // private addresses that are meant to be reached; lifts nothing of what is never reached
}

// URLError says what is wrong with an endpoint's URL and what to write instead. It never quotes the URL, whose path is
// often a secret.
type URLError struct {
	Problem string
	Hint    string
}

func (e *URLError) Error() string { return "endpoint URL " + e.Problem }

// ErrHeaders is what every refusal of CheckHeaders wraps.
var ErrHeaders = errors.New("extra headers")

// CheckURL checks an endpoint's URL as its owner wrote it. A host that is an address is judged at once; a name is
// judged each time it is dialled, by what it then resolves to.
func (r Rules) CheckURL(raw string) (*url.URL, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &URLError{"cannot be parsed", "write it like https://example.com/webhooks"}
	}
	for _, check := range []func(*url.URL) error{r.checkScheme, checkAuthority, r.checkPort, r.checkHost} {
		if err := check(u); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// checkText refuses what parsers are known to read differently from one another, before any of them sees it.
func checkText(raw string) error {
	switch {
	case raw == "":
		return &URLError{"is empty", "write it like https://example.com/webhooks"}
	case len(raw) > maxURLBytes:
		return &URLError{fmt.Sprintf("is longer than %d bytes", maxURLBytes), "shorten its path or query"}
	case strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || isControl(c) }):
		return &URLError{"holds a blank, a line break or another control character", "percent-encode it, a blank as %20"}
	case strings.Contains(raw, `\`):
		return &URLError{"holds a backslash", "use / to separate, %5C for a real one"}
	case strings.Contains(raw, "#"):
		return &URLError{"has a fragment", "remove the # and what follows: it is never sent"}
	}
	return nil
}

func (r Rules) checkScheme(u *url.URL) error {
	switch {
	case u.Scheme == "https" && u.Opaque == "":
		return nil
	case u.Scheme == "http" && u.Opaque == "" && r.AllowInsecure:
		return nil
	case u.Scheme == "http":
		return &URLError{"is not https", "use https:// ; plain http is for development, with --allow-insecure-endpoints"}
	default:
		return &URLError{"is not https", "write it like https://example.com/webhooks"}
	}
}

func checkAuthority(u *url.URL) error {
	switch {
	case u.User != nil:
		return &URLError{"holds a user name or password", "send credentials in an extra header instead"}
	case u.Hostname() == "":
		return &URLError{"has no host", "write it like https://example.com/webhooks"}
	}
	return nil
}

func (r Rules) checkPort(u *url.URL) error {
	text := u.Port()
	if text == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || !portAllowed(uint16(port), r.AllowInsecure) {
		return &URLError{"uses a port webhooks are not sent to", "use 443, or one from 1024 up that is not another protocol's"}
	}
	return nil
}

// checkHost rewrites the host in its ASCII form, as it will be resolved, and then looks at that.
func (r Rules) checkHost(u *url.URL) error {
	host := strings.TrimSuffix(u.Hostname(), ".")
	if strings.Contains(host, ":") {
		return r.checkLiteral(host)
	}
	ascii, ok := asciiName(host)
	if !ok {
		return &URLError{"has a host that is no valid name", "write it like https://example.com/webhooks"}
	}
	if err := r.checkName(ascii); err != nil {
		return err
	}
	port := u.Port()
	u.Host = ascii
	if port != "" {
		u.Host += ":" + port
	}
	return nil
}

// asciiName gives the form a name is resolved in. Names that are ASCII already are taken as DNS takes them, with the
// underscores and double hyphens that the rules for international names refuse.
func asciiName(host string) (string, bool) {
	name := strings.ToLower(host)
	if strings.ContainsFunc(host, func(c rune) bool { return c > 0x7f }) {
		var err error
		if name, err = idna.Lookup.ToASCII(host); err != nil {
			return "", false
		}
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", false
		}
	}
	return name, len(name) <= 253
}

// checkLiteral judges a host that is an address. Only what netip reads is one; a resolver may read more (0x7f000001,
// 127.1), and that is refused by name.
func (r Rules) checkLiteral(host string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return &URLError{"has a host that is no valid address", "use a name, or a public address without a zone"}
	}
	if f := newGuard(r, nil).address(addr); f.refused() {
		return &URLError{"points to an address that is never called: " + f.String(), "use a public address"}
	}
	return nil
}

func (r Rules) checkName(name string) error {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case isNumber(last):
		return r.checkLiteral(name)
	case slices.Contains(metadataNames, name):
		return &URLError{"names a cloud's metadata service", "use the host that receives your webhooks"}
	case last == "localhost" && !r.AllowInsecure:
		return &URLError{"names this machine", "use a public name; localhost is for development, with --allow-insecure-endpoints"}
	case (len(labels) == 1 || slices.Contains(privateZones, last)) && !r.AllowInsecure && len(r.Allow) == 0:
		return &URLError{"names a host inside a private network", "use a public name such as hooks.example.com"}
	}
	return nil
}

// isNumber finds the last labels that make resolvers read the whole host as an IPv4 address: no top-level domain is a
// number.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// metadataNames are refused however they resolve: a cloud's own resolver may answer them with any address.
var metadataNames = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal",
	"instance-data", "instance-data.ec2.internal",
}

// privateZones are top-level names no public resolver answers.
var privateZones = []string{"internal", "local", "localdomain", "intranet", "lan", "corp", "home"}

// otherProtocols are ports from 1024 up where something other than a web server is at home, and where an HTTP request
// could be taken for a command.
var otherProtocols = []uint16{
	1080, 1433, 1521, 1719, 1720, 1723, 1883, 2049, 2375, 2376, 2379, 2380, 3128, 3306, 3389, 3659, 4045, 4222, 4369, 5060, 5061,
	5432, 5671, 5672, 5900, 6000, 6222, 6379, 6443, 6514, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 7422, 7777, 8222, 8300,
	8500, 8883, 9042, 9092, 9200, 9300, 10250, 10255, 10256, 11211, 15672, 26257, 27017, 27018, 50000,
}

func portAllowed(port uint16, insecure bool) bool {
	switch port {
	case 443:
		return true
	case 80:
		return insecure
	default:
		return port >= 1024 && !slices.Contains(otherProtocols, port)
	}
}
