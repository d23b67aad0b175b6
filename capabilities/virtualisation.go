package capabilities

import (
	"cmp"
	"context"
	"strings"
)

// virtualisation finds whether the machine is a virtual one, and whether we
// are in a container on it.
type virtualisation struct{}

func (virtualisation) Name() string { return "virtualisation" }

func (virtualisation) Probe(_ context.Context, h Host) (func(*Report), error) {
	info, err := h.readSome("proc/cpuinfo", 64<<10)
	sort := h.hypervisor(info)
	if sort == "" && err == nil && info != "" {
		sort = "none"
	}
	box := h.container()
	return func(r *Report) { r.Virtualisation, r.Container = sort, box }, err
}

// hypervisors are by what DMI says; product names go before vendors'.
var hypervisors = []struct{ text, name string }{
	{"KVM", "kvm"}, {"OpenStack", "kvm"}, {"Google Compute Engine", "kvm"}, {"Amazon EC2", "amazon"}, {"VMware", "vmware"}, {"VirtualBox", "virtualbox"},
	{"innotek", "virtualbox"}, {"Xen", "xen"}, {"HVM domU", "xen"}, {"Parallels", "parallels"}, {"Bochs", "qemu"}, {"QEMU", "qemu"}, {"BHYVE", "bhyve"},
	{"Apple Virtualization", "apple"}, {"Virtual Machine", "hyperv"}, {"DigitalOcean", "kvm"}, {"Hetzner", "kvm"},
}

// hypervisor returns the sort of virtual machine; empty if there is no sign of one.
func (h Host) hypervisor(cpuinfo string) string {
	if t := h.text("sys/hypervisor/type"); t != "" {
		return t
	}
	_, flags, _ := strings.Cut(cpuinfo, "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	flagged := strings.Contains(flags+" ", " hypervisor ")
	const metal = ".metal" // Amazon's machines without a hypervisor are named like the others
	product := h.text("sys/class/dmi/id/product_name")
	for _, text := range []string{product, h.text("sys/class/dmi/id/sys_vendor"), h.text("sys/class/dmi/id/bios_vendor")} {
		for _, known := range hypervisors {
			if strings.Contains(text, known.text) && !strings.HasSuffix(product, metal) {
				return known.name
			}
		}
	}
	for _, name := range h.compatible() {
		if name == "linux,dummy-virt" {
			return "qemu"
		}
	}
	if tree := clean(h.deviceTree("hypervisor/compatible")); tree != "" {
		return cmp.Or(map[string]string{"linux,kvm": "kvm", "xen,xen": "xen"}[tree], "vm")
	}
	if flagged {
		return "vm"
	}
	return ""
}

// container returns the sort of container that we are in; empty if none.
func (h Host) container() string {
	if t := h.text("run/systemd/container"); t != "" {
		return t
	}
	for variable := range strings.SplitSeq(h.block("proc/1/environ"), "\x00") {
		if t, found := strings.CutPrefix(variable, "container="); found && t != "" {
			return clean(t)
		}
	}
	switch groups := h.block("proc/1/cgroup"); {
	case h.exists(".dockerenv"), strings.Contains(groups, "/docker"):
		return "docker"
	case h.exists("run/.containerenv"):
		return "podman"
	case strings.Contains(groups, "/kubepods"):
		return "kubernetes"
	case strings.Contains(groups, "/lxc"):
		return "lxc"
	}
	return ""
}
