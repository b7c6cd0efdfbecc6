//go:build !race

package main

const slowed = 1 // see race_test.go
