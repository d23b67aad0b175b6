package mirage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edgeio/edgeio/drivers/internal/shim"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// The programs that are known, by what they call themselves.
const (
	edgehvt  = "edgehvt"
	solo5HVT = "solo5-hvt"
	solo5SPT = "solo5-spt"
	qemu     = "qemu-system-x86_64"
)

// abiVersions are those that this driver knows how to run.
var abiVersions = map[solo5.Target]uint32{solo5.HVT: 2, solo5.SPT: 2, solo5.Virtio: 1}

// targets are those that can be run, as they are listed.
var targets = []solo5.Target{solo5.HVT, solo5.SPT, solo5.Virtio}

// tender is a program that runs guests.
type tender struct {
	kind    string // what it is: edgehvt, solo5-hvt, solo5-spt, qemu-system-x86_64
	path    string
	version string
	abi     uint32
	kvm     bool // QEMU: not emulated
}

// choice is the tender for a target, or why there is none.
type choice struct {
	tender
	problem error
}

// overhead is the memory that it may take besides the guest's.
func (t tender) overhead() int64 {
	if t.kind == qemu {
		return qemuBytes
	}
	return tenderBytes
}

// tenderFor returns the tender for an image, or what to install.
func (d *Driver) tenderFor(ctx context.Context, img solo5.Image) (tender, error) {
	want, ok := abiVersions[img.Target]
	if !ok {
		return tender{}, fmt.Errorf("it is for the target %s, which edgeIO does not run; build it for hvt, spt or virtio", img.Target)
	}
	if img.ABIVersion != want {
		return tender{}, fmt.Errorf("it is for version %d of %s, tenders here run version %d; build it with another release of Solo5", img.ABIVersion, img.Target, want)
	}
	d.mu.Lock()
	c, known := d.tenders[img.Target]
	d.mu.Unlock()
	if _, err := os.Stat(c.path); !known || c.problem != nil || err != nil {
		c = d.look(ctx)[img.Target]
	}
	if c.problem != nil {
		return tender{}, fmt.Errorf("it is for the target %s, which this node cannot run: %w", img.Target, c.problem)
	}
	if c.kind != qemu {
		return c.tender, nil
	}
	c.kvm = d.tryQEMU(ctx, c.path)
	if !c.kvm && d.cfg.NoEmulation {
		return tender{}, errors.New("it is for the target virtio: QEMU cannot use KVM here, and emulation is switched off (drivers.mirage.emulation)")
	}
	return c.tender, nil
}

// look looks for all tenders anew.
func (d *Driver) look(ctx context.Context) map[solo5.Target]choice {
	found := map[solo5.Target]choice{}
	for _, target := range targets {
		t, err := d.find(ctx, target)
		found[target] = choice{t, err}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenders = found
	return found
}

func (d *Driver) find(ctx context.Context, target solo5.Target) (tender, error) {
	switch target {
	case solo5.HVT:
		if err := kvmUsable(); err != nil {
			return tender{}, err
		}
		if d.cfg.HVT != "" {
			return ask(ctx, d.cfg.HVT, target)
		}
		installed, err := newest(ctx, solo5HVT, target)
		if err == nil && (os.Geteuid() != 0 || kvmGroup() != nil) {
			return installed, nil
		}
		// It could be run as root only, which ours need not.
		own, ownErr := ask(ctx, d.cfg.EdgeHVT, target)
		if ownErr != nil && err == nil {
			return installed, nil
		}
		return own, ownErr
	case solo5.SPT:
		if d.cfg.SPT != "" {
			return ask(ctx, d.cfg.SPT, target)
		}
		return newest(ctx, solo5SPT, target)
	}
	path := d.cfg.QEMU
	if path == "" {
		var err error
		if path, err = exec.LookPath(qemu); err != nil {
			return tender{}, errors.New(qemu + " is not in $PATH; install QEMU (Debian: qemu-system-x86)")
		}
	}
	return ask(ctx, path, target)
}

// newest returns the newest tender in $PATH, also among versioned names such
// as solo5-hvt.2, that has the right ABI version.
func newest(ctx context.Context, program string, target solo5.Target) (tender, error) {
	var best tender
	problem := fmt.Errorf("%s is not in $PATH; install Solo5, or name it in the configuration", program)
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		paths, _ := filepath.Glob(filepath.Join(dir, program+".*"))
		for _, path := range append([]string{filepath.Join(dir, program)}, paths...) {
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
				continue
			}
			t, err := ask(ctx, path, target)
			if err != nil {
				problem = err
			} else if best.path == "" || newer(t.version, best.version) {
				best = t
			}
		}
	}
	if best.path == "" {
		return tender{}, problem
	}
	return best, nil
}

// ask asks a program for what it is.
func ask(ctx context.Context, path string, target solo5.Target) (tender, error) {
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return tender{}, fmt.Errorf("%s --version: %w; install it, or correct the configuration", path, err)
	}
	t, ok := parseVersion(string(out))
	if !ok || !slices.Contains(kinds(target), t.kind) {
		return tender{}, fmt.Errorf("%s is not one of %s", path, strings.Join(kinds(target), ", "))
	}
	if want := abiVersions[target]; t.abi != want {
		return tender{}, fmt.Errorf("%s runs version %d of %s, version %d is wanted; install another release", path, t.abi, target, want)
	}
	t.path = path
	return t, nil
}

func kinds(target solo5.Target) []string {
	switch target {
	case solo5.HVT:
		return []string{solo5HVT, edgehvt}
	case solo5.SPT:
		return []string{solo5SPT}
	}
	return []string{qemu}
}

// parseVersion reads what tenders and QEMU answer to --version:
//
//	solo5-hvt tender, version v0.9.0
//	ABI version 2
//
//	QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)
func parseVersion(out string) (tender, bool) {
	var t tender
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "QEMU emulator version "); ok {
			v, _, _ = strings.Cut(v, " ")
			return tender{kind: qemu, version: v, abi: abiVersions[solo5.Virtio]}, v != ""
		}
		if kind, v, ok := strings.Cut(line, " tender, version "); ok {
			t.kind, t.version = kind, v
		}
		if v, ok := strings.CutPrefix(line, "ABI version "); ok {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return tender{}, false
			}
			t.abi = uint32(n)
		}
	}
	return t, t.kind != "" && t.version != "" && t.abi != 0
}

// newer compares versions by their numbers.
func newer(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) > 0 }

func numbers(version string) []int {
	var list []int
	for _, word := range strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(word) // one too long for a number is none that counts
		list = append(list, n)
	}
	return list
}

// prepare sets program, arguments and user of the launch.
func (t tender) prepare(l *shim.Launch, g *machine) {
	root := os.Geteuid() == 0
	g.copied = root && t.kind != edgehvt
	image := g.image
	if g.copied {
		image = imageFile
		l.SetUser, l.UID, l.GID, l.Groups = true, nobody, nobody, []uint32{nobody}
		if group := kvmGroup(); t.kind == solo5HVT || t.kvm {
			if group == nil {
				l.SetUser = false // nobody but root may use KVM
			} else {
				l.Groups = append(l.Groups, *group)
			}
		}
	}
	l.Path = t.path
	if t.kind == qemu {
		l.Argv = t.qemuArguments(image, g)
		return
	}
	l.Argv = t.arguments(image, g, root && t.kind == edgehvt)
}

// arguments are those of Solo5's tenders.
func (t tender) arguments(image string, g *machine, become bool) []string {
	argv := []string{t.kind, "--mem=" + strconv.FormatInt(g.memoryMiB, 10)}
	if become {
		argv = append(argv, fmt.Sprintf("--uid=%d", nobody), fmt.Sprintf("--gid=%d", nobody))
	}
	for _, p := range g.taps {
		argv = append(argv, "--net:"+p.Device+"="+p.Name, "--net-mac:"+p.Device+"="+p.MAC)
	}
	for _, device := range g.devices {
		if device.Type == solo5.Block {
			argv = append(argv, "--block:"+device.Name+"="+blockFile(device))
		}
	}
	return append(append(argv, "--", image), g.args...)
}

// qemuArguments are for a machine like that which Solo5's own script makes.
// Guests find their devices by the order of the manifest.
func (t tender) qemuArguments(image string, g *machine) []string {
	argv := []string{t.kind, "-accel", "tcg", "-cpu", "Westmere"}
	if t.kvm {
		argv = []string{t.kind, "-accel", "kvm", "-cpu", "host"}
	}
	argv = append(argv, "-m", strconv.FormatInt(g.memoryMiB, 10), "-nodefaults", "-no-user-config", "-no-reboot",
		"-machine", "acpi=off", "-display", "none", "-serial", "stdio", "-device", "isa-debug-exit", "-kernel", image)
	if len(g.args) > 0 {
		argv = append(argv, "-append", strings.Join(g.args, " "))
	}
	taps := g.taps
	for i, device := range g.devices {
		id := fmt.Sprintf("d%d", i)
		if device.Type == solo5.Block {
			argv = append(argv, "-drive", "if=none,format=raw,id="+id+",file="+blockFile(device), "-device", "virtio-blk-pci,drive="+id)
			continue
		}
		argv = append(argv, "-netdev", "tap,script=no,downscript=no,id="+id+",ifname="+taps[0].Name, "-device", "virtio-net-pci,netdev="+id+",mac="+taps[0].MAC)
		taps = taps[1:]
	}
	return argv
}
