package config

import (
	"fmt"
	"slices"
	"strings"
)

// OneOf refuses a value that is none of those there are, and hints at the one that
// was probably meant.
func OneOf(value string, known []string) error {
	if slices.Contains(known, value) {
		return nil
	}
	err := fmt.Errorf("%q is not one of %s", value, strings.Join(known, ", "))
	if near := nearest(value, known); near != "" {
		return withHint(err, fmt.Sprintf("did you mean %q?", near))
	}
	return err
}

// nearest is the name that is the fewest edits away, or "" if none is near
// enough to be what was meant.
func nearest(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if d := edits(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements between two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
