package main

import (
	"errors"
	"fmt"
	"strings"
)

// asked is one thing that is asked of the service, and how it came out.
type asked struct {
	What string
	Got  float64
	Want float64
	Most bool // Want is the most that is allowed; otherwise the least
}

func atLeast(what string, got, want float64) asked { return asked{What: what, Got: got, Want: want} }

func atMost(what string, got, want float64) asked {
	return asked{What: what, Got: got, Want: want, Most: true}
}

func (a asked) met() bool {
	if a.Most {
		return a.Got <= a.Want
	}
	return a.Got >= a.Want // not so for what was divided by nothing
}

// String is the line below a table.
func (a asked) String() string {
	word, verdict := "at least", "met"
	if a.Most {
		word = "at most"
	}
	if !a.met() {
		verdict = "NOT met"
	}
	return fmt.Sprintf("%s: %s, %s %s is asked: %s", a.What, decimals(a.Got), word, decimals(a.Want), verdict)
}

// verdicts are the lines below a table.
func verdicts(all []asked) string {
	var b strings.Builder
	for _, a := range all {
		fmt.Fprintf(&b, "- %s\n", a)
	}
	return b.String()
}

// unmet is an error that lists what is not so.
func unmet(all []asked) error {
	var errs []error
	for _, a := range all {
		if !a.met() {
			errs = append(errs, errors.New(a.String()))
		}
	}
	return errors.Join(errs...)
}
