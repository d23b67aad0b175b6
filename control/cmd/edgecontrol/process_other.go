//go:build !linux

package main

import "syscall"

func stopWithParent() *syscall.SysProcAttr { return nil }
