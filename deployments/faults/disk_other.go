//go:build !linux

package main

import (
	"errors"
	"fmt"
)

// newDisk says that there is none here.
func newDisk(string, int64) (*disk, error) {
	return nil, fmt.Errorf("make a small disk: %w", errors.ErrUnsupported)
}
