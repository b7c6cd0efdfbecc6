package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size such as 512KiB, 10MB or 1048576.
type Bytes int64

// The units of a size, longest name first, so that "MiB" is not read as "B".
var sizeUnits = []struct {
	name string
	size int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
	{"T", 1 << 40},
	{"B", 1},
}

// UnmarshalText reads a whole number with an optional unit.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := splitUnit(strings.TrimSpace(string(text)))
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return withHint(fmt.Errorf("%q is not a size", text), "write it like 1048576, 512KiB or 10GiB")
	}
	*b = Bytes(n * unit)
	return nil
}

func splitUnit(s string) (number string, unit int64) {
	for _, u := range sizeUnits {
		if len(s) > len(u.name) && strings.EqualFold(s[len(s)-len(u.name):], u.name) {
			return strings.TrimSpace(s[:len(s)-len(u.name)]), u.size
		}
	}
	return s, 1
}

// String writes the size with the largest binary unit that keeps it whole.
func (b Bytes) String() string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText writes what [Bytes.UnmarshalText] reads.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
