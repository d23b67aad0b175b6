package main

import "syscall"

// stopWithParent has the kernel stop the agent when this process dies. A
// Ctrl-C in the terminal is for this process alone: the agent is needed until
// the jobs have been stopped.
func stopWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
