package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// period is that over which the CPU quota is counted, in microseconds: the
// kernel's default. The kernel takes no quota below minQuota.
const (
	period   = 100_000
	minQuota = 1_000
)

func (g Group) limit(l Limits) error {
	type setting struct {
		limit    int64
		set      func(int64) error
		resource string
	}
	for _, s := range []setting{
		{l.CPUMillis, g.limitCPU, "cpu"},
		{l.MemoryBytes, g.limitMemory, "memory"},
		{l.PIDs, g.limitPIDs, "pids"},
	} {
		if s.limit == 0 {
			continue
		}
		if err := s.set(s.limit); err != nil {
			return fmt.Errorf("%s: %w", s.resource, err)
		}
	}
	return nil
}

func (g Group) limitCPU(millis int64) error {
	quota := strconv.FormatInt(max(millis*period/1000, minQuota), 10)
	if dir := g.v1("cpu"); dir != "" {
		if err := write(dir, "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
			return err
		}
		return write(dir, "cpu.cfs_quota_us", quota)
	}
	return g.writeV2("cpu.max", quota+" "+strconv.Itoa(period))
}

func (g Group) limitMemory(bytes int64) error {
	limit := strconv.FormatInt(bytes, 10)
	if dir := g.v1("memory"); dir != "" {
		if err := write(dir, "memory.limit_in_bytes", limit); err != nil {
			return err
		}
		// Missing where the kernel does not account for swap: then there is none to take.
		return optional(write(dir, "memory.memsw.limit_in_bytes", limit))
	}
	if err := g.writeV2("memory.max", limit); err != nil {
		return err
	}
	if err := optional(g.writeV2("memory.swap.max", "0")); err != nil {
		return err
	}
	// Half a workload is worse than none: all of it ends.
	return optional(g.writeV2("memory.oom.group", "1"))
}

func (g Group) limitPIDs(n int64) error {
	if dir := g.v1("pids"); dir != "" {
		return write(dir, "pids.max", strconv.FormatInt(n, 10))
	}
	return g.writeV2("pids.max", strconv.FormatInt(n, 10))
}

func (g Group) writeV2(file, value string) error {
	if g.V2 == "" {
		return errors.New("no control group has this controller")
	}
	return write(g.V2, file, value)
}

func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// OOMKilled tells whether the memory limit has killed a process of the group.
func (g Group) OOMKilled() bool {
	text := ""
	if dir := g.v1("memory"); dir != "" {
		text = read(dir, "memory.oom_control")
	} else if g.V2 != "" {
		text = read(g.V2, "memory.events")
	}
	return value(text, "oom_kill") > 0
}

// Usage is what the processes of a group use.
type Usage struct {
	CPUTime     time.Duration
	MemoryBytes int64 // without file pages that the kernel can drop at once
	PIDs        int64
}

// Usage reads the group's counters. Counters whose controller is missing are zero.
func (g Group) Usage() Usage {
	var u Usage
	if dir := g.v1("cpuacct"); dir != "" {
		u.CPUTime = time.Duration(number(read(dir, "cpuacct.usage")))
	} else if dir := g.v1("cpu"); dir != "" {
		u.CPUTime = time.Duration(number(read(dir, "cpuacct.usage"))) // one hierarchy with two names
	} else if g.V2 != "" {
		u.CPUTime = time.Duration(value(read(g.V2, "cpu.stat"), "usage_usec")) * time.Microsecond
	}
	if dir := g.v1("memory"); dir != "" {
		u.MemoryBytes = number(read(dir, "memory.usage_in_bytes")) - value(read(dir, "memory.stat"), "total_inactive_file")
	} else if g.V2 != "" {
		u.MemoryBytes = number(read(g.V2, "memory.current")) - value(read(g.V2, "memory.stat"), "inactive_file")
	}
	if dir := g.v1("pids"); dir != "" {
		u.PIDs = number(read(dir, "pids.current"))
	} else if g.V2 != "" {
		u.PIDs = number(read(g.V2, "pids.current"))
	}
	u.MemoryBytes = max(u.MemoryBytes, 0)
	return u
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n
}

// value finds "key N" in a file of such lines; 0 if it is not there.
func value(text, key string) int64 {
	for line := range strings.Lines(text) {
		if name, n, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			return number(n)
		}
	}
	return 0
}
