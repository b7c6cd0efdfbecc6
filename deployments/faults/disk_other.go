//go:build !linux

package main

import (
	"errors"
	"fmt"
)

// mountHere says that there is no such disk here.
func mountHere(string, int64) (*disk, error) {
	return nil, fmt.Errorf("mount it: %w", errors.ErrUnsupported)
}

// mountApart says that there are no namespaces here.
func mountApart(string, int64) (*disk, error) {
	return nil, fmt.Errorf("make a user namespace: %w", errors.ErrUnsupported)
}

// holdDisk has nothing to do here.
func holdDisk() {}
