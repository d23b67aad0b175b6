package main

import "syscall"

// stopWithParent has the kernel stop the agent when this process dies.
func stopWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
