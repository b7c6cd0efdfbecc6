//go:build !race

package delivery

// See race_test.go.
const (
	slowed      = 1
	poolsForget = false
)
