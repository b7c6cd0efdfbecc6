//go:build race

package delivery

// slowed is how many times longer what is computed takes under the race detector.
const slowed = 8

// poolsForget says that a sync.Pool loses some of what is put into it, by chance.
const poolsForget = true
