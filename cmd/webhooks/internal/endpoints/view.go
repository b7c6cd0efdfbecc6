package endpoints

import (
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/delivery"
)

// View is an endpoint as it is shown: everything but its secrets and the values of
// its headers. It is printed by the command line and sent by the admin API.
type View struct {
	Survey        string            `json:"survey"`
	URL           string            `json:"url"`
	Enabled       bool              `json:"enabled"`
	Secrets       int               `json:"secrets"`           // how many
	Headers       map[string]string `json:"headers,omitempty"` // each value is [Masked]
	MaxInFlight   int               `json:"max_in_flight,omitempty"`
	RatePerSecond float64           `json:"rate_per_second,omitempty"`
	Description   string            `json:"description,omitempty"`
	Revision      uint64            `json:"revision"`
	Changed       string            `json:"updated_at,omitempty"`
	Insecure      bool              `json:"insecure,omitempty"` // works only where the service allows insecure endpoints
	Invalid       string            `json:"invalid,omitempty"`  // why it cannot be used as it is
	Health        *health.Record    `json:"health,omitempty"`   // what is wrong with it, as far as it is known here
}

// Masked stands in a [View] for the value of a header: they often authenticate.
const Masked = "(set)"

// ViewOf shows an endpoint. Nothing is known of its health there.
func ViewOf(ep config.Endpoint) View {
	v := View{
		Survey: string(ep.Survey), URL: ep.URL, Enabled: ep.Enabled, Secrets: len(ep.Secrets), MaxInFlight: ep.MaxInFlight,
		RatePerSecond: ep.RatePerSecond, Description: ep.Description, Revision: ep.Revision, Headers: masked(ep.Headers),
	}
	if _, err := (delivery.Rules{}).CheckURL(ep.URL); err != nil {
		v.Insecure = true
	}
	if !ep.UpdatedAt.IsZero() {
		v.Changed = ep.UpdatedAt.UTC().Format(time.RFC3339)
	}
	return v
}

func masked(headers map[string]string) map[string]string {
	if headers == nil {
		return nil
	}
	names := make(map[string]string, len(headers))
	for name := range headers {
		names[name] = Masked
	}
	return names
}

// State is how the endpoint is, in a few words: enabled, disabled, and by whom.
func (v View) State() string {
	state := "disabled"
	switch {
	case v.Invalid != "":
		return "invalid"
	case v.Enabled && v.Health != nil && v.Health.DisabledAt(v.Revision):
		state = "disabled by " + ByWhom(v.Health.Disabled.By)
	case v.Enabled && v.Health != nil && v.Health.Failing():
		state = "enabled, failing"
	case v.Enabled:
		state = "enabled"
	}
	if v.Insecure {
		state += ", insecure"
	}
	return state
}

// ByWhom says who disabled an endpoint.
func ByWhom(by string) string {
	switch by {
	case health.ByEndpoint:
		return "the endpoint itself"
	case health.ByService:
		return "the service"
	default:
		return by // a newer version's
	}
}
