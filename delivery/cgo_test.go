//go:build cgo

package delivery

// systemReads says that this binary can ask the C library to resolve a name.
const systemReads = true
