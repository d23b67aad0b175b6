package capabilities

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// system finds the operating system, the kernel and the architecture.
type system struct{}

func (system) Name() string { return "system" }

func (system) Probe(_ context.Context, h Host) (func(*Report), error) {
	kernel, kernelErr := h.line("proc/sys/kernel/osrelease")
	text, osErr := h.readSome("etc/os-release", 64<<10)
	if osErr != nil {
		text, osErr = h.readSome("usr/lib/os-release", 64<<10)
	}
	kernelArch := normaliseArch(h.machine())
	arch := runtime.GOARCH // programs run as the agent does, also under a wider kernel
	if !h.isLive() {
		arch = cmp.Or(kernelArch, arch)
	}
	first := h.text("proc/1/comm")
	return func(r *Report) {
		r.Kernel, r.OS, r.Arch, r.KernelArch, r.Init = kernel, parseOSRelease(text), arch, kernelArch, first
	}, errors.Join(kernelErr, osErr)
}

// machine returns the kernel's name of the architecture.
func (h Host) machine() string {
	if name := h.text("proc/sys/kernel/arch"); name != "" { // since Linux 6.1
		return name
	}
	if h.isLive() {
		var u unix.Utsname
		if unix.Uname(&u) == nil {
			return unix.ByteSliceToString(u.Machine[:])
		}
	}
	return machineByCPU(h.block("proc/cpuinfo"))
}

// machineByCPU tells the architecture by the form that /proc/cpuinfo has on it.
// Kernels of 32 bits on ARM name the model, those of 64 bits do not.
func machineByCPU(cpuinfo string) string {
	switch architecture := cpuInfoValue(cpuinfo, "CPU architecture"); {
	case architecture == "8" && !strings.Contains(cpuInfoValue(cpuinfo, "model name"), "ARMv"), architecture == "AArch64":
		return "aarch64"
	case architecture != "":
		return "arm"
	case slices.Contains(strings.Fields(cpuInfoValue(cpuinfo, "flags")), "lm"):
		return "x86_64"
	}
	return ""
}

// normaliseArch turns the kernel's name of an architecture into Go's; empty if
// edgeIO does not run on it.
func normaliseArch(machine string) string {
	switch {
	case machine == "x86_64" || machine == "amd64":
		return "amd64"
	case machine == "aarch64" || machine == "arm64":
		return "arm64"
	case strings.HasPrefix(machine, "arm"): // armv6l, armv7l, armv8l, arm
		return "arm"
	}
	return ""
}

// parseOSRelease reads os-release(5).
func parseOSRelease(text string) OS {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(key, "#") {
			fields[key] = clean(unquote(value))
		}
	}
	return OS{ID: fields["ID"], Name: cmp.Or(fields["PRETTY_NAME"], fields["NAME"]), Version: fields["VERSION_ID"]}
}

// unquote takes off a shell's quotes; escapes are as in double quotes.
func unquote(s string) string {
	if len(s) < 2 || (s[0] != '"' && s[0] != '\'') || s[len(s)-1] != s[0] {
		return s
	}
	inner := s[1 : len(s)-1]
	if s[0] == '\'' {
		return inner
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(inner)
}
