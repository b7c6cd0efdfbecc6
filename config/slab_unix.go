//go:build unix

package config

import "syscall"

// newSlab asks the system for memory that the garbage collector does not know.
func newSlab(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n) // the heap works as well, it only costs more
	}
	return b
}

// freeSlab gives the memory back. A slab from the heap is not known to Munmap,
// which refuses it and leaves it to the collector.
func freeSlab(b []byte) { _ = syscall.Munmap(b) }
