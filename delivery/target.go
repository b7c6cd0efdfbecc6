package delivery

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/popsee/webhooks/events"
)

// SecretSpec is one of an endpoint's secrets.
type SecretSpec struct {
	Secret    Secret
	ExpiresAt time.Time // from then on it signs nothing; zero = never
}

// TargetSpec is what an endpoint's settings say about its deliveries.
type TargetSpec struct {
	Survey   events.Survey
	URL      string
	Secrets  []SecretSpec      // newest first; none = unsigned
	Headers  map[string]string // extra ones, as CheckHeaders allows them
	Revision uint64
}

// Target is one revision of an endpoint, compiled for sending. It is immutable and safe for concurrent use.
type Target struct {
	survey   events.Survey
	revision uint64
	url      *url.URL // shared by every request; nobody writes to it
	host     string   // host:port
	signers  []signer
	private  *private // behind a pointer, so that fmt prints an address where it passes Format by
}

type private struct {
	extra []extraHeader
	hide  []string // what the receiver must not be quoted with
}

type signer struct {
	popsee   *key
	standard *key // the same as popsee unless the secret is a whsec_ one
	expires  time.Time
}

type extraHeader struct {
	name   string
	values []string // one; ready for a request's header, which only reads it
}

// NewTarget checks an endpoint's settings and compiles them.
func NewTarget(s TargetSpec, r Rules) (*Target, error) {
	u, err := r.CheckURL(s.URL)
	if err != nil {
		return nil, err
	}
	if err := CheckHeaders(s.Headers); err != nil {
		return nil, err
	}
	t := &Target{survey: s.Survey, revision: s.Revision, url: u, host: hostPort(u), private: &private{hide: hidden(u, s)}}
	for i, spec := range s.Secrets {
		if spec.Secret.IsZero() {
			return nil, fmt.Errorf("secret %d: %w: it is empty", i+1, ErrSecret)
		}
		t.signers = append(t.signers, newSigner(spec))
	}
	for name, value := range s.Headers {
		t.private.extra = append(t.private.extra, extraHeader{name: http.CanonicalHeaderKey(name), values: []string{value}})
	}
	return t, nil
}

func newSigner(s SecretSpec) signer {
	keys := *s.Secret.keys
	k := signer{popsee: newKey(keys.text), expires: s.ExpiresAt}
	k.standard = k.popsee
	if keys.standard != keys.text {
		k.standard = newKey(keys.standard)
	}
	return k
}

func (s *signer) live(now time.Time) bool { return s.expires.IsZero() || now.Before(s.expires) }

// Host gives host:port: what attempts are counted by, and the only part of the URL that is logged.
func (t *Target) Host() string { return t.host }

// Survey gives the survey whose endpoint this is.
func (t *Target) Survey() events.Survey { return t.survey }

// Revision gives the endpoint's revision that was compiled.
func (t *Target) Revision() uint64 { return t.revision }

// Format prints the host alone, whatever the verb.
func (t *Target) Format(f fmt.State, _ rune) { fmt.Fprint(f, "target("+t.host+")") }

// hostPort spells the port out, so that one host is counted once whether its URLs say :443 or not.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.TrimSuffix(u.Hostname(), "."), port)
}
