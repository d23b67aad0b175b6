// Package cgroup limits, measures and ends groups of processes with Linux
// control groups: version 2, version 1, and the mix of both that older
// distributions mount (limits by version 1, a version 2 tree beside it).
//
// A Host is what the machine offers; a Group is one workload's. A Group holds
// nothing but paths, so it can be written down and used by another process.
// The package is linked into edgeshim: standard library only.
//
// Formats: cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// DefaultRoot is where distributions mount control groups.
const DefaultRoot = "/sys/fs/cgroup"

// Limits of a group; zero is unlimited.
type Limits struct {
	CPUMillis   int64 // thousandths of a core
	MemoryBytes int64 // swap is not added to it
	PIDs        int64
}

// Group is the control group of one workload in all hierarchies. The zero
// Group stands for none: its methods do nothing.
type Group struct {
	V1 []V1
	V2 string // folder in the version 2 hierarchy; "" if there is none
}

// V1 is a folder in one hierarchy of version 1.
type V1 struct{ Controller, Dir string }

// None tells whether g is the zero Group.
func (g Group) None() bool { return g.V2 == "" && len(g.V1) == 0 }

func (g Group) v1(controller string) string {
	for _, c := range g.V1 {
		if c.Controller == controller {
			return c.Dir
		}
	}
	return ""
}

func (g Group) dirs() []string {
	var dirs []string
	for _, c := range g.V1 {
		dirs = append(dirs, c.Dir)
	}
	if g.V2 != "" {
		dirs = append(dirs, g.V2)
	}
	return dirs
}

// Host is a machine's control groups below one parent group of ours.
type Host struct {
	CPU, Memory, PIDs bool   // which limits can be enforced
	Reason            string // why not all of them, in words
	controllers       []V1   // version 1: the mounted hierarchies' roots
	v2                string // root of the version 2 hierarchy
	parent            string // name of our group
}

// v1Controllers are those of version 1 that are used, if mounted.
var v1Controllers = []string{"cpu", "cpuacct", "memory", "pids"}

// v2Controllers are those of version 2 that are used.
var v2Controllers = []string{"cpu", "memory", "pids"}

// Detect finds out what can be done with the control groups mounted at root,
// for groups below parent, by doing it once. It never fails: a Host that can
// do nothing makes zero Groups.
func Detect(root, parent string) *Host {
	h := &Host{parent: parent}
	switch {
	case exists(filepath.Join(root, "cgroup.controllers")):
		h.v2 = root
		h.detectV2()
	case exists(filepath.Join(root, "unified", "cgroup.controllers")):
		h.v2 = filepath.Join(root, "unified")
		if err := h.try(h.v2); err != nil {
			h.v2 = ""
		}
		fallthrough
	default:
		h.detectV1(root)
	}
	if !h.CPU && !h.Memory && !h.PIDs && h.Reason == "" {
		h.Reason = "no control groups are mounted at " + root
	}
	return h
}

func (h *Host) detectV2() {
	if err := h.try(h.v2); err != nil {
		h.v2, h.Reason = "", err.Error()
		return
	}
	// Controllers are handed down level by level; one that cannot be is missing below.
	ours := filepath.Join(h.v2, h.parent)
	if err := mkdir(ours); err != nil {
		h.Reason = err.Error()
		return
	}
	for _, dir := range []string{h.v2, ours} {
		for _, c := range v2Controllers {
			if err := write(dir, "cgroup.subtree_control", "+"+c); err != nil && h.Reason == "" {
				h.Reason = fmt.Sprintf("enable %s: %v", c, err)
			}
		}
	}
	enabled := " " + strings.Join(strings.Fields(read(ours, "cgroup.subtree_control")), " ") + " "
	h.CPU = strings.Contains(enabled, " cpu ")
	h.Memory = strings.Contains(enabled, " memory ")
	h.PIDs = strings.Contains(enabled, " pids ")
	_ = os.Remove(ours)
}

func (h *Host) detectV1(root string) {
	seen := map[string]bool{}
	for _, c := range v1Controllers {
		// cpu and cpuacct are often two names of one hierarchy.
		dir, err := filepath.EvalSymlinks(filepath.Join(root, c))
		if err != nil || !exists(filepath.Join(dir, "tasks")) {
			continue
		}
		if err := h.try(dir); err != nil {
			h.Reason = err.Error()
			continue
		}
		if !seen[dir] {
			h.controllers = append(h.controllers, V1{c, dir})
		}
		seen[dir] = true
		h.CPU = h.CPU || c == "cpu"
		h.Memory = h.Memory || c == "memory"
		h.PIDs = h.PIDs || c == "pids"
	}
}

// try tells whether groups can be made below dir.
func (h *Host) try(dir string) error {
	ours := filepath.Join(dir, h.parent)
	var probe string
	err := retry(func() error {
		err := os.MkdirAll(ours, 0o755)
		if err == nil {
			probe, err = os.MkdirTemp(ours, "probe-")
		}
		return err
	})
	if err != nil {
		return err
	}
	err = os.Remove(probe)
	_ = os.Remove(ours) // stays if others use it
	return err
}

// retry repeats what failed because another process removed the parent group
// in between, which it does whenever that is empty.
func retry(f func() error) error {
	var err error
	for range 100 {
		if err = f(); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return err
}

// Tracks tells whether groups find all processes of a workload.
func (h *Host) Tracks() bool { return h.v2 != "" || len(h.controllers) > 0 }

// Group returns the group called name, which may not exist yet.
func (h *Host) Group(name string) Group {
	var g Group
	for _, c := range h.controllers {
		g.V1 = append(g.V1, V1{c.Controller, filepath.Join(c.Dir, h.parent, name)})
	}
	if h.v2 != "" {
		g.V2 = filepath.Join(h.v2, h.parent, name)
	}
	return g
}

// Cleanup removes our parent group if no group is left in it.
func (h *Host) Cleanup() {
	for _, dir := range h.Group("").dirs() {
		_ = os.Remove(dir)
	}
}

// Create makes the group with limits, and empties one of that name first. The
// counters of a new group begin at zero.
func (g Group) Create(l Limits) error {
	if g.None() {
		return nil
	}
	if err := g.Kill(); err != nil {
		return err
	}
	if err := g.Remove(); err != nil {
		return err
	}
	for _, dir := range g.dirs() {
		if err := mkdir(dir); err != nil {
			return fmt.Errorf("create control group: %w", err)
		}
	}
	g.handDown()
	if err := g.limit(l); err != nil {
		_ = g.Remove()
		return fmt.Errorf("set limits of control group: %w", err)
	}
	return nil
}

// mkdir makes dir and its parents although Cleanup may remove them meanwhile.
func mkdir(dir string) error {
	return retry(func() error { return os.MkdirAll(dir, 0o755) })
}

// handDown makes the controllers of the parent group available in this one. A
// missing one shows when its limit is set.
func (g Group) handDown() {
	if g.V2 == "" || len(g.V1) > 0 {
		return
	}
	for _, c := range v2Controllers {
		_ = write(filepath.Dir(g.V2), "cgroup.subtree_control", "+"+c)
	}
}

// Remove removes the group, which must be empty. Removing what is gone does nothing.
func (g Group) Remove() error {
	for _, dir := range g.dirs() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove control group: %w", err)
		}
	}
	return nil
}

// Exists tells whether any part of the group is there.
func (g Group) Exists() bool {
	for _, dir := range g.dirs() {
		if exists(dir) {
			return true
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// write writes to a control file, which must exist: in a version that lacks
// it, a file must not be made.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func read(dir, file string) string {
	b, _ := os.ReadFile(filepath.Join(dir, file))
	return string(b)
}
