//go:build !linux

package process

import "syscall"

// withUs changes nothing where the kernel cannot end what was started here.
func withUs() *syscall.SysProcAttr { return nil }
