package main

import (
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// child is the workload's first process.
type child struct {
	pid  int
	wake int           // readable once it has ended
	none chan struct{} // closed when no process of the tree is left to wait for
	gone chan struct{} // closed when the first process has ended

	mu     sync.Mutex
	ended  bool
	status syscall.WaitStatus
}

// watch waits for pid and for all others that become children of this
// process, in a goroutine that ends when there are none.
func watch(pid int) *child {
	var p [2]int
	c := &child{pid: pid, wake: -1, none: make(chan struct{}), gone: make(chan struct{})}
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err == nil {
		c.wake = p[0]
	}
	go func() {
		defer close(c.none)
		for c.reap() {
			if c.isEnded() && p[1] >= 0 {
				_ = syscall.Close(p[1]) // wakes the loop
				p[1] = -1
				close(c.gone)
			}
		}
	}()
	return c
}

func (c *child) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// From linux/wait.h.
const (
	waitAll     = 0
	waitExited  = 4
	waitNoReap  = 0x01000000
	siginfoSize = 128
)

// reap waits until children have ended and takes them away; false: there are none.
// They are taken under the lock, so that a signal never meets a reused number.
func (c *child) reap() bool {
	var info [siginfoSize]byte
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitAll, 0, uintptr(unsafe.Pointer(&info)), waitExited|waitNoReap, 0, 0)
	if errno == syscall.EINTR {
		return true
	}
	if errno != 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return true
		}
		if pid == c.pid {
			c.ended, c.status = true, status
		}
	}
}

// signal signals the first process, if it runs.
func (c *child) signal(n syscall.Signal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	return syscall.Kill(c.pid, n) == nil
}

// code is the exit code: 128 + number if a signal ended it.
func (c *child) code() int {
	if c.status.Signaled() {
		return 128 + int(c.status.Signal())
	}
	return c.status.ExitStatus()
}

// treePatience bounds the wait for processes that SIGKILL does not end.
const treePatience = 10 * time.Second

// killTree ends all processes that the workload has left.
func (s *server) killTree() {
	find := func() []int { return shim.Descendants(syscall.Getpid()) }
	if s.launch.Cgroup.None() {
		// Further commands (Exec) are not below this process, but are marked.
		find = func() []int { return append(shim.Descendants(syscall.Getpid()), shim.Marked(s.marker())...) }
	} else if err := s.launch.Cgroup.Kill(); err != nil {
		complain(err.Error())
	}
	deadline := time.Now().Add(treePatience)
	for pause := 200 * time.Microsecond; time.Now().Before(deadline); pause = min(2*pause, 20*time.Millisecond) {
		strays := []int(nil)
		select {
		case <-s.child.none:
			if !s.launch.Cgroup.None() {
				return
			}
			if strays = find(); len(strays) == 0 {
				return
			}
			time.Sleep(pause)
		case <-time.After(pause):
			strays = find()
		}
		for _, pid := range strays {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// marker is the value of shim.Marker that the workload was given.
func (s *server) marker() string {
	for _, e := range s.launch.Env {
		if v, ok := strings.CutPrefix(e, shim.Marker+"="); ok {
			return v
		}
	}
	return ""
}
