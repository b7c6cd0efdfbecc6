package delivery

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
	route    route
	signers  []signer
	private  *private // behind a pointer, so that fmt prints an address where it passes Format by
}

type private struct {
	extra []field  // sorted by name
	head  []byte   // the start of every HTTP/1.1 request: its first line, Host, and what else every one has in common
	hide  []string // what the receiver must not be quoted with
}

type signer struct {
	popsee   *key
	standard *key // the same as popsee unless the secret is a whsec_ one
	expires  time.Time
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
	t := &Target{survey: s.Survey, revision: s.Revision, private: &private{hide: hidden(u, s)}}
	for i, spec := range s.Secrets {
		if spec.Secret.IsZero() {
			return nil, fmt.Errorf("secret %d: %w: it is empty", i+1, ErrSecret)
		}
		t.signers = append(t.signers, newSigner(spec))
	}
	for name, value := range s.Headers {
		t.private.extra = append(t.private.extra, field{named(http.CanonicalHeaderKey(name)), value})
	}
	slices.SortFunc(t.private.extra, func(a, b field) int { return strings.Compare(a.name.http1, b.name.http1) })
	t.lead(u)
	return t, nil
}

// lead is the last step: everything else of the target is there.
func (t *Target) lead(to *url.URL) {
	t.url, t.route = to, routeOf(to)
	t.private.head = headFor(to, t.private.extra)
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
func (t *Target) Host() string { return t.route.address }

// Survey gives the survey whose endpoint this is.
func (t *Target) Survey() events.Survey { return t.survey }

// Revision gives the endpoint's revision that was compiled.
func (t *Target) Revision() uint64 { return t.revision }

// Format prints the host alone, whatever the verb.
func (t *Target) Format(f fmt.State, _ rune) { fmt.Fprint(f, "target("+t.route.address+")") }
