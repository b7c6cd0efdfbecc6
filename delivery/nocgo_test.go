//go:build !cgo

package delivery

const systemReads = false // see cgo_test.go
