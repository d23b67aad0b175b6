package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killPatience bounds Kill: a process that does not die of SIGKILL hangs in
// the kernel, and no waiting helps.
const killPatience = 10 * time.Second

// ErrAlive says that processes of a group survived SIGKILL.
var ErrAlive = errors.New("processes of the control group do not die; they hang in the kernel (see dmesg)")

// Kill ends all processes of the group and returns when none is left, but for
// those that their parents have yet to wait for.
func (g Group) Kill() error {
	if g.None() {
		return nil
	}
	if dir := g.v1("pids"); dir != "" {
		// Nothing is born any more, so that killing one after the other ends.
		_ = write(dir, "pids.max", "0")
	}
	deadline := time.Now().Add(killPatience)
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if g.V2 != "" {
			_ = write(g.V2, "cgroup.kill", "1") // Linux 5.14 and newer; the loop does for others
		}
		alive := false
		for _, pid := range g.Processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			alive = true
		}
		if !alive {
			return nil
		}
		if time.Now().After(deadline) {
			return ErrAlive
		}
		time.Sleep(pause)
	}
}

// Processes returns the processes of the group in any hierarchy.
func (g Group) Processes() []int {
	var pids []int
	for _, dir := range g.dirs() {
		for line := range strings.Lines(read(dir, "cgroup.procs")) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 && !dead(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// dead tells whether pid is a zombie. Version 1 lists those; nothing more can
// be done to them.
func dead(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	stat := string(b)
	i := strings.LastIndex(stat, ") ")
	return i >= 0 && i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X')
}

// EnterV1 moves the calling thread (alone) into the version 1 part of the
// group: its children are born there. Moving one thread costs microseconds,
// moving a process by cgroup.procs waits for all of the kernel's readers, some
// 10 ms. The caller has locked its goroutine to the thread.
func (g Group) EnterV1() error {
	for _, c := range g.V1 {
		if err := write(c.Dir, "tasks", "0"); err != nil {
			return err
		}
	}
	return nil
}

// LeaveV1 moves the calling thread to the parent group.
func (g Group) LeaveV1() error {
	var parent Group
	for _, c := range g.V1 {
		parent.V1 = append(parent.V1, V1{c.Controller, filepath.Dir(c.Dir)})
	}
	return parent.EnterV1()
}
