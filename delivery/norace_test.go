//go:build !race

package delivery

const slowed = 1 // see race_test.go
