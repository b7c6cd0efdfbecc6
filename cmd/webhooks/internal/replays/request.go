package replays

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// Request is a replay that somebody asks for.
type Request struct {
	Surveys  []string // only these; none means all
	Since    Point    // may be zero where there is a response
	Until    Point    // zero: everything that is settled now
	Response string   // only this one; empty means all
	Rate     float64  // events a second, all replicas together; 0: as fast as it goes
	Reason   string
	By       string // who asks, as far as they say
	Key      string // an idempotency key; empty: whoever asks twice gets two
}

// The rates that can be asked for: one event in 1,000 s, and more than any one stream
// bears.
const (
	slowest = 0.001
	fastest = 1e6
)

// ParseRate reads how fast a replay goes: events a second, or "max", which is 0.
func ParseRate(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= slowest && n <= fastest) { // NaN is neither
		return 0, refuse(BadRate, "", "%q is no rate: give events a second, from %g to %d, or max", text, slowest, int(fastest))
	}
	return n, nil
}

// Check refuses what makes no sense whatever there is.
func (q Request) Check() error {
	_, err := q.check()
	return err
}

// check is Check, and returns the surveys that are asked for, each once.
func (q Request) check() ([]events.Survey, error) {
	surveys, err := surveysOf(q.Surveys)
	if err != nil {
		return nil, err
	}
	for _, text := range []struct{ what, is string }{{"the reason", q.Reason}, {"who asks", q.By}, {"the response's id", q.Response}} {
		switch {
		case len(text.is) > replay.MaxText:
			return nil, refuse(BadText, "", "%s is longer than %d bytes", text.what, replay.MaxText)
		case !utf8.ValidString(text.is) || strings.ContainsFunc(text.is, unicode.IsControl):
			return nil, refuse(BadText, "", "%s holds control characters", text.what)
		}
	}
	if q.Since.IsZero() && q.Response == "" {
		return nil, refuse(NoStart, "", "a replay needs to know from where on: give %s", q.Since.Name)
	}
	return surveys, CheckKey(q.Key)
}

func surveysOf(ids []string) ([]events.Survey, error) {
	var all []events.Survey
	for _, id := range ids {
		survey, err := events.ParseSurvey(id)
		if err != nil {
			return nil, refuse(BadSurvey, "", "survey %q is not a valid id", id)
		}
		all = append(all, survey)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > replay.MaxSurveys {
		return nil, refuse(TooMany, "", "%d surveys were given: a replay can name %d", len(all), replay.MaxSurveys)
	}
	return all, nil
}

// CheckKey refuses what cannot be an idempotency key. None at all is none.
func CheckKey(key string) error {
	if len(key) > replay.MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return refuse(BadKey, "", "an idempotency key has 1 to %d visible ASCII characters, such as a UUID's", replay.MaxKey)
	}
	return nil
}

// digest is what was asked for under a key, in words that time does not change: two
// hours ago are two hours ago.
func (q Request) digest() string {
	surveys := slices.Clone(q.Surveys)
	slices.Sort(surveys)
	b, err := json.Marshal([]any{slices.Compact(surveys), q.Since.Text, q.Until.Text, q.Response, q.Rate, q.Reason, q.By})
	if err != nil {
		panic(fmt.Errorf("write strings and a number as JSON: %w", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
