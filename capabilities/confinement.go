package capabilities

import (
	"context"
	"slices"
	"strings"
)

// cgroups finds the version and the controllers that may be used.
type cgroups struct{}

func (cgroups) Name() string { return "cgroup" }

func (cgroups) Probe(_ context.Context, h Host) (func(*Report), error) {
	const dir = "sys/fs/cgroup"
	var c Cgroup
	if text, err := h.readSome(dir+"/cgroup.controllers", 4096); err == nil {
		c = Cgroup{Version: 2, Controllers: strings.Fields(clean(text))}
	} else if text, err := h.readSome("proc/cgroups", 64<<10); err == nil {
		c = parseCgroups(text)
		// One that is not mounted is of no use, and one of version 2 is not listed as ours.
		c.Controllers = slices.DeleteFunc(c.Controllers, func(name string) bool { return !h.exists(dir + "/" + name) })
		if len(c.Controllers) == 0 {
			c = Cgroup{}
		}
	}
	slices.Sort(c.Controllers)
	return func(r *Report) { r.Cgroup = c }, nil
}

// parseCgroups reads /proc/cgroups: name, hierarchy, number of groups, enabled.
func parseCgroups(text string) Cgroup {
	c := Cgroup{Version: 1}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 4 && f[3] == "1" && len(c.Controllers) < 64 && !strings.ContainsAny(f[0], "/.") {
			c.Controllers = append(c.Controllers, clean(f[0]))
		}
	}
	return c
}

// security finds the kernel's modules that confine programs.
type security struct{}

func (security) Name() string { return "security" }

func (security) Probe(_ context.Context, h Host) (func(*Report), error) {
	var s Security
	for name := range strings.SplitSeq(h.text("sys/kernel/security/lsm"), ",") {
		if name != "" {
			s.Modules = append(s.Modules, name)
		}
	}
	add := func(name string, on bool) { // where securityfs is not mounted
		if on && !slices.Contains(s.Modules, name) {
			s.Modules = append(s.Modules, name)
		}
	}
	add("apparmor", h.text("sys/module/apparmor/parameters/enabled") == "Y")
	add("selinux", h.exists("sys/fs/selinux/enforce"))
	slices.Sort(s.Modules)
	s.Seccomp = h.text("proc/sys/kernel/seccomp/actions_avail") != ""
	return func(r *Report) { r.Security = s }, nil
}

// clock finds whether the time is kept in step with others.
type clock struct{}

func (clock) Name() string { return "clock" }

func (clock) Probe(_ context.Context, h Host) (func(*Report), error) {
	c := Clock{RTC: len(h.matches("sys/class/rtc", "rtc[0-9]*")) > 0}
	var err error
	switch {
	case h.isLive():
		c.Synchronised, err = kernelSynchronised()
	case h.exists("run/systemd/timesync/synchronized"):
		c.Synchronised = Yes
	}
	return func(r *Report) { r.Clock = c }, err
}
