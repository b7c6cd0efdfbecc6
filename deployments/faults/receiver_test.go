package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/popsee/webhooks/delivery"
)

// TestOnlyWhatWasPublishedForAnEndpointIsDelivered: what comes to an endpoint and is not
// its owner's, or not as it was published, is complained of by name, and its event is
// still to be delivered.
func TestOnlyWhatWasPublishedForAnEndpointIsDelivered(t *testing.T) {
	l := &ledger{name: "x"}
	r, err := newReceiver(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	const survey, another = 4, 5
	fails := firstFlap
	if r.works(fails) {
		fails++
	}
	other, err := delivery.NewSecret("another secret")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		published int // the survey
		url       string
		change    func(s *sent)
		wrong     string // in the complaint; empty: there is none, and it is delivered
	}{
		"as it was published":          {survey, r.url(l, survey), func(*sent) {}, ""},
		"of another survey":            {survey, r.url(l, another), func(*sent) {}, "of survey s004 came to the endpoint of s005"},
		"where the endpoint fails":     {survey, r.url(l, fails), func(*sent) {}, "of survey s004 came to the endpoint of " + string(surveyID(fails))},
		"on another host":              {survey, r.hosts[flapping].URL + "/x/4", func(*sent) {}, "came to the host"},
		"of no survey":                 {survey, r.hosts[steady].URL + "/x/" + "999", func(*sent) {}, "where no endpoint is"},
		"of no deployment":             {survey, r.hosts[steady].URL + "/y/4", func(*sent) {}, "where no endpoint is"},
		"an event of nobody":           {survey, r.url(l, survey), func(s *sent) { s.id = "x-1000" }, `nobody published an event "x-1000"`},
		"an event of another one":      {survey, r.url(l, survey), func(s *sent) { s.id = "y-0" }, `nobody published an event "y-0"`},
		"an event below all":           {survey, r.url(l, survey), func(s *sent) { s.id = "x--1" }, `nobody published an event "x--1"`},
		"an id written another way":    {survey, r.url(l, survey), func(s *sent) { s.id = "x-0" + s.id[len("x-"):] }, "nobody published"},
		"without an id":                {survey, r.url(l, survey), func(s *sent) { s.id = "" }, "nobody published"},
		"with a blank more":            {survey, r.url(l, survey), func(s *sent) { s.body = append(s.body, ' '); s.sign(r.secret) }, "as other bytes than were published"},
		"without a body":               {survey, r.url(l, survey), func(s *sent) { s.body = nil; s.sign(r.secret) }, "as other bytes than were published"},
		"as another event of its own":  {survey, r.url(l, survey), func(s *sent) { s.body = l.body(l.next(survey)); s.sign(r.secret) }, "as other bytes than were published"},
		"signed with another secret":   {survey, r.url(l, survey), func(s *sent) { s.sign(other) }, delivery.ErrSignatureMismatch.Error()},
		"without a signature":          {survey, r.url(l, survey), func(s *sent) { s.signature = "" }, delivery.ErrSignatureMissing.Error()},
		"with a signature of no shape": {survey, r.url(l, survey), func(s *sent) { s.signature = "sha256=00" }, delivery.ErrSignatureMalformed.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			i := l.next(c.published)
			s := &sent{id: l.id(i), body: l.body(i)}
			s.sign(r.secret)
			c.change(s)
			before := l.totals()
			s.post(t, r, c.url)
			got := strings.Join(r.complaints(), "\n")
			if !strings.Contains(got, c.wrong) || (got == "") != (c.wrong == "") {
				t.Errorf("complains of %q, want %q", got, c.wrong)
			}
			want := 0
			if c.wrong == "" {
				want = 1
			}
			if n := l.event(i).accepted; n != want {
				t.Errorf("it was delivered %d times, want %d", n, want)
			}
			if after := l.totals(); after.Delivered+after.Again != before.Delivered+before.Again+want {
				t.Errorf("from %+v to %+v: another one counts as delivered", before, after)
			}
		})
	}
}

// sent is one webhook, as whoever delivers it makes it.
type sent struct {
	id, signature string
	body          []byte
}

func (s *sent) sign(secret delivery.Secret) { s.signature = delivery.Sign(secret, s.body) }

func (s *sent) post(t *testing.T, r *receiver, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(delivery.HeaderDelivery, s.id)
	req.Header.Set(delivery.HeaderSignature, s.signature)
	resp, err := r.hosts[steady].Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestComplaintsAreCountedAndTheFirstAreTold(t *testing.T) {
	r := &receiver{}
	for range fewForeign + 2 {
		r.complain(http.ErrBodyNotAllowed)
	}
	if got := strings.Join(r.complaints(), ""); !strings.HasPrefix(got, "7 requests") || strings.Count(got, http.ErrBodyNotAllowed.Error()) != fewForeign {
		t.Errorf("complains of %q", got)
	}
	if got := r.complaints(); got != nil {
		t.Errorf("complains again: %v", got)
	}
}
