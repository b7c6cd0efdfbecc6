package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/popsee/webhooks/delivery"
)

// Faults is everything that is wrong with one thing at once, so that nobody
// has to find his mistakes one run at a time.
type Faults []error

// Error lists the faults on one line.
func (f Faults) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives the single faults.
func (f Faults) Unwrap() []error { return f }

// Hint gives the hints of all faults that have one.
func (f Faults) Hint() string {
	var hints []string
	for _, err := range f {
		if h := Hint(err); h != "" {
			hints = append(hints, h)
		}
	}
	return strings.Join(hints, "; ")
}

func (f *Faults) add(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

func (f *Faults) addf(format string, args ...any) {
	*f = append(*f, fmt.Errorf(format, args...))
}

// err is nil where there is no fault: a nil Faults in an error would not be.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Hint says what to do about an error, as far as something in it knows, or "".
func Hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	if u, ok := errors.AsType[*delivery.URLError](err); ok {
		return u.Hint
	}
	return ""
}
