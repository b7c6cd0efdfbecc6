package config

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Bounds of an endpoint. They are also in endpoint.schema.json.
const (
	MaxEndpointBytes    = 64 << 10 // the JSON value as stored
	MaxSecrets          = 8        // all live secrets sign every attempt, and a rotation needs two
	MaxInFlightLimit    = 1000     // what an owner may ask for at most
	MaxRatePerSecond    = 10_000
	MinRatePerSecond    = 0.001 // one event in 1000 s; who wants less switches the endpoint off
	MaxDescriptionRunes = 500
)

//go:embed endpoint.schema.json
var endpointSchema []byte

// EndpointSchema returns the JSON Schema of an endpoint's value, for those who
// write endpoints in other languages.
func EndpointSchema() []byte { return slices.Clone(endpointSchema) }

// Endpoint is where the events of a survey go and how they are signed.
type Endpoint struct {
	Survey   events.Survey `json:"-"` // the key
	Revision uint64        `json:"-"` // what a write compares before it sets; 0 = not stored yet

	URL           string            `json:"url"`
	Secrets       []SealedSecret    `json:"secrets,omitempty"` // newest first; none = deliveries are not signed
	Enabled       bool              `json:"enabled"`           // the owner's switch
	Headers       map[string]string `json:"headers,omitempty"`
	MaxInFlight   int               `json:"max_in_flight,omitzero"`   // 0 = ours to choose
	RatePerSecond float64           `json:"rate_per_second,omitzero"` // 0 = unlimited
	Description   string            `json:"description,omitempty"`
	UpdatedAt     time.Time         `json:"updated_at,omitzero"`
}

// Limits are the owner's limits, and what a caller needs to see that they
// have changed.
type Limits struct {
	MaxInFlight   int     // 0 = ours to choose
	RatePerSecond float64 // 0 = unlimited
	Revision      uint64
	Enabled       bool
}

// Limits returns the owner's limits.
func (e Endpoint) Limits() Limits {
	return Limits{MaxInFlight: e.MaxInFlight, RatePerSecond: e.RatePerSecond, Revision: e.Revision, Enabled: e.Enabled}
}

// Validate reports all that is wrong at once, as an [InvalidError]. It does not
// open secrets: who writes an endpoint has only the public keys.
func (e Endpoint) Validate(rules delivery.Rules) error {
	var f Faults
	if _, err := events.ParseSurvey(string(e.Survey)); err != nil {
		f.add(err)
	}
	if _, err := rules.CheckURL(e.URL); err != nil {
		f.add(fmt.Errorf("url: %w", err))
	}
	if err := delivery.CheckHeaders(e.Headers); err != nil {
		f.add(fmt.Errorf("headers: %w", err))
	}
	f.checkSecrets(e.Secrets)
	f.checkLimits(e)
	f.checkDescription(e.Description)
	if len(f) > 0 {
		return &InvalidError{Survey: e.Survey, Revision: e.Revision, Reason: f}
	}
	return nil
}

func (f *Faults) checkSecrets(secrets []SealedSecret) {
	if len(secrets) > MaxSecrets {
		f.addf("secrets: %d of them, at most %d are allowed", len(secrets), MaxSecrets)
	}
	for i, s := range secrets {
		if err := s.validate(); err != nil {
			f.add(fmt.Errorf("secrets/%d: %w", i, err))
		}
	}
	// An endpoint whose secrets have all expired would go on unsigned.
	if len(secrets) > 0 && secrets[0].ExpiresAt != nil {
		f.addf("secrets/0: the newest secret cannot expire")
	}
}

func (f *Faults) checkLimits(e Endpoint) {
	if e.MaxInFlight < 0 || e.MaxInFlight > MaxInFlightLimit {
		f.addf("max_in_flight: %d is not between 1 and %d", e.MaxInFlight, MaxInFlightLimit)
	}
	r := e.RatePerSecond
	if math.IsNaN(r) || r != 0 && (r < MinRatePerSecond || r > MaxRatePerSecond) {
		f.addf("rate_per_second: %v is not between %v and %v", r, MinRatePerSecond, MaxRatePerSecond)
	}
}

// checkDescription refuses control characters, which would let an owner write
// on the terminal of whoever lists endpoints.
func (f *Faults) checkDescription(d string) {
	if n := utf8.RuneCountInString(d); n > MaxDescriptionRunes {
		f.addf("description: %d characters, at most %d are allowed", n, MaxDescriptionRunes)
	}
	if !utf8.ValidString(d) {
		f.addf("description: not valid UTF-8")
	}
	if slices.ContainsFunc([]rune(d), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		f.addf("description: control characters are not allowed")
	}
}
