package capabilities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
)

// identity finds what tells this host from others and this boot from the last.
type identity struct{}

func (identity) Name() string { return "identity" }

func (identity) Probe(_ context.Context, h Host) (func(*Report), error) {
	hostname, err := h.line("proc/sys/kernel/hostname")
	if name, etcErr := h.line("etc/hostname"); etcErr == nil && !h.isLive() {
		hostname, err = name, nil // in a container /proc tells the container's
	}
	boot, bootErr := h.line("proc/sys/kernel/random/boot_id")
	return func(r *Report) { r.Hostname, r.BootID = hostname, boot }, errors.Join(err, bootErr)
}

// system finds the operating system, the kernel and the architecture.
type system struct{}

func (system) Name() string { return "system" }

func (system) Probe(_ context.Context, h Host) (func(*Report), error) {
	kernel, kernelErr := h.line("proc/sys/kernel/osrelease")
	text, osErr := h.read("etc/os-release")
	if osErr != nil {
		text, osErr = h.read("usr/lib/os-release")
	}
	machine, _ := h.line("proc/sys/kernel/arch") // since Linux 6.1
	kernelArch := normaliseArch(machine)
	arch := runtime.GOARCH // programs run as the agent does, also under a wider kernel
	if !h.isLive() {
		arch = cmp.Or(kernelArch, arch)
	}
	return func(r *Report) {
		r.Kernel, r.OS, r.Arch, r.KernelArch = kernel, parseOSRelease(text), arch, kernelArch
	}, errors.Join(kernelErr, osErr)
}

// cpu finds the processors, and on single-board computers the machine's name.
type cpu struct{}

func (cpu) Name() string { return "cpu" }

func (cpu) Probe(_ context.Context, h Host) (func(*Report), error) {
	text, err := h.read("proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	c, board := parseCPUInfo(text)
	if c.Cores == 0 {
		err = errors.New("/proc/cpuinfo lists no processor")
	}
	for _, name := range []string{"proc/device-tree/model", "sys/class/dmi/id/product_name"} {
		if board == "" {
			board, _ = h.line(name) // most machines have one of them, virtual ones none
		}
	}
	return func(r *Report) { r.CPU, r.Machine = c, board }, err
}

// memory finds the size of the main memory.
type memory struct{}

func (memory) Name() string { return "memory" }

func (memory) Probe(_ context.Context, h Host) (func(*Report), error) {
	text, err := h.read("proc/meminfo")
	if err != nil {
		return nil, err
	}
	info, err := parseMemInfo(text)
	if err != nil {
		return nil, err
	}
	return func(r *Report) { r.Memory.TotalBytes = info.total }, nil
}

// disk finds the size of the agent's file system.
type disk struct{}

func (disk) Name() string { return "disk" }

func (disk) Probe(_ context.Context, h Host) (func(*Report), error) {
	total, _, available, err := h.statfs()
	if err != nil {
		return nil, err
	}
	return func(r *Report) { r.Disk = Disk{Path: h.stateDir(), TotalBytes: total, FreeBytes: available} }, nil
}

// network finds the host's addresses.
type network struct{}

func (network) Name() string { return "network" }

func (network) Probe(_ context.Context, h Host) (func(*Report), error) {
	v4, err := h.read("proc/net/fib_trie")
	if err != nil {
		err = fmt.Errorf("IPv4 addresses: %w", err)
	}
	v6, _ := h.read("proc/net/if_inet6") // not there without IPv6
	return func(r *Report) { r.Addresses = addresses(v4, v6) }, err
}
