//go:build race

package main

// slowed is how many times longer what is computed takes under the race detector, about.
const slowed = 4
