//go:build race

package delivery

// slowed is how many times longer what is computed takes under the race detector.
const slowed = 8
