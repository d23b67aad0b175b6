package mirage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
	"golang.org/x/sys/unix"
)

// Probe implements drivers.Driver: it is usable if there is a tender for one
// target at least. Which one runs what, and what is missing for the others, is
// in Version and Reason.
func (d *Driver) Probe(ctx context.Context) drivers.Info {
	info := drivers.Info{Name: name, Features: d.features()}
	if _, ok := d.Keeper.Probe(ctx, &info); !ok {
		return info
	}
	found := d.look(ctx)
	if c := found[solo5.Virtio]; c.problem == nil && d.cfg.NoEmulation && !d.tryQEMU(ctx, c.path) {
		c.problem = fmt.Errorf("QEMU cannot use KVM here, and emulation is switched off")
		found[solo5.Virtio] = c
	}
	var versions, paths, missing []string
	for _, target := range targets {
		c := found[target]
		if c.problem != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", target, c.problem))
			continue
		}
		versions = append(versions, fmt.Sprintf("%s: %s %s", target, c.kind, c.version))
		paths = append(paths, c.path)
	}
	info.Usable = len(versions) > 0
	info.Version = strings.Join(versions, ", ")
	info.Endpoint = strings.Join(paths, " ")
	info.Reason = strings.Join(missing, "; ")
	if !info.Usable {
		info.Remedy = "give edgeagent access to /dev/kvm, or install a tender"
	}
	return info
}

func (d *Driver) features() []drivers.Feature {
	// What a guest has for memory is bounded by its machine, with or without control groups.
	features := []drivers.Feature{drivers.FeatureImageFile, drivers.FeatureLimitMemory, drivers.FeatureStats}
	if d.Cgroups().CPU {
		features = append(features, drivers.FeatureLimitCPU)
	}
	if d.network.usable(true) == nil {
		features = append(features, drivers.FeaturePorts)
	}
	slices.Sort(features)
	return features
}

const (
	kvmDevice   = "/dev/kvm"
	kvmCreateVM = 0xae01 // KVM_CREATE_VM of linux/kvm.h
)

// kvmUsable makes a virtual machine, and drops it.
func kvmUsable() error {
	fd, err := unix.Open(kvmDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w; switch virtualisation on in the firmware, and let edgeagent use the device", kvmDevice, err)
	}
	defer unix.Close(fd)
	vm, err := unix.IoctlRetInt(fd, kvmCreateVM)
	if err != nil {
		return fmt.Errorf("%s: make a virtual machine: %w", kvmDevice, err)
	}
	return unix.Close(vm)
}

// kvmGroup returns the group that may use KVM, if it is not root's alone.
func kvmGroup() *uint32 {
	info, err := os.Stat(kvmDevice)
	if err != nil || info.Mode().Perm()&0o060 != 0o060 {
		return nil
	}
	return &info.Sys().(*syscall.Stat_t).Gid
}

// trialPatience is how long a guest may take that does nothing but end.
const trialPatience = 3 * time.Second

// tryQEMU tells whether QEMU works with KVM here. Where KVM is emulated itself,
// it may start and yet never get anywhere: only a run tells. It is done once.
func (d *Driver) tryQEMU(ctx context.Context, path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.qemuOnKVM != nil {
		return *d.qemuOnKVM
	}
	works := false
	if kvmUsable() == nil && (os.Geteuid() != 0 || kvmGroup() != nil) {
		works = trial(ctx, path)
	}
	if ctx.Err() == nil {
		d.qemuOnKVM = &works
	}
	return works
}

func trial(ctx context.Context, path string) bool {
	dir, err := os.MkdirTemp("", "edgeio-trial-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	const text = "works\n"
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, guest.Virtio(guest.Print(text), guest.Exit(0)), 0o600); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	t := tender{kind: qemu, path: path, kvm: true}
	argv := t.qemuArguments(image, &machine{memoryMiB: 16})
	out, _ := exec.CommandContext(ctx, path, argv[1:]...).Output()
	return bytes.Contains(out, []byte(text))
}
