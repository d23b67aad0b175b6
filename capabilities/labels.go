package capabilities

import (
	"slices"
	"strconv"
	"strings"
)

// labelPrefix marks labels that are derived; nobody else's begin with it.
const labelPrefix = "edgeio.dev/"

// Labels derives a node's labels from its report: what jobs choose nodes by.
// It depends on nothing else. Values are of small letters, digits, "-" and ".".
// Of several devices of one kind the first is named, those with memory of their
// own before others; "edgeio.dev/gpu.intel=true" tells of each vendor.
func Labels(r Report) map[string]string {
	out := map[string]string{}
	set := func(key, value string) {
		if value = slug(value); value != "" {
			out[labelPrefix+key] = value
		}
	}
	set("arch", r.Arch)
	set("arch-variant", r.CPU.Variant)
	set("board", r.Board.ID)
	set("soc", r.Board.SoC)
	set("jetpack", r.Board.JetPack)
	set("os", r.OS.ID)
	set("os-version", r.OS.Version)
	if major, rest, found := strings.Cut(r.Kernel, "."); found {
		minor, _, _ := strings.Cut(rest, ".")
		set("kernel", major+"."+minor)
	}
	set("cpu", r.CPU.Model)
	for _, f := range r.CPU.Features {
		set("cpu."+f, "true")
	}
	if r.CPU.NUMANodes > 1 {
		set("numa-nodes", strconv.Itoa(r.CPU.NUMANodes))
	}
	set("virtualisation", r.Virtualisation)
	set("container", r.Container)
	set("kvm", map[Answer]string{Yes: "true"}[r.KVM.Works])
	if r.Cgroup.Version > 0 {
		set("cgroup", "v"+strconv.Itoa(r.Cgroup.Version))
	}
	for _, i := range r.Interfaces {
		if i.Kind == "wireless" || i.Kind == "cellular" || i.Kind == "can" {
			set("network."+i.Kind, "true")
		}
	}
	deviceLabels(r.Devices, set)
	return out
}

func deviceLabels(devices []Device, set func(key, value string)) {
	byKind := map[Kind][]Device{}
	for _, d := range devices {
		byKind[d.Kind] = append(byKind[d.Kind], d)
	}
	for kind, all := range byKind {
		switch kind {
		case GPU, VPU, NPU, FPGA:
			best := slices.MaxFunc(all, func(a, b Device) int { // the first of equals
				return int(min(max(a.MemoryBytes-b.MemoryBytes, -1), 1))
			})
			set(string(kind), first(best.Vendor, best.Model, "unknown"))
			set(string(kind)+"-model", best.Model)
			set(string(kind)+"-count", strconv.Itoa(len(all)))
			for _, d := range all {
				if v := slug(d.Vendor); v != "" {
					set(string(kind)+"."+v, "true")
				}
			}
		case Camera, TPM, Serial, I2C, SPI, GPIO:
			set(string(kind), "true")
		}
	}
}

func first(all ...string) string {
	for _, s := range all {
		if slug(s) != "" {
			return s
		}
	}
	return ""
}
