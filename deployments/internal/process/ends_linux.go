package process

import "syscall"

// withUs has the kernel end what was started here when this process ends, however
// that is: nothing is left behind.
func withUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
