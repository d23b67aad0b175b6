package mirage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

const (
	defaultMemoryMiB = 32
	maxMemoryMiB     = 4096
	maxArgumentBytes = 8191 // of all arguments, joined

	// What a tender takes besides the guest's memory, at most.
	tenderBytes = 16 << 20
	qemuBytes   = 160 << 20

	// imageFile is the copy of the image in the work folder, for tenders that
	// are started as a user who may not be let through to the original.
	imageFile = "image"
)

// Create implements drivers.Driver. The image is a file that is there.
func (d *Driver) Create(ctx context.Context, spec drivers.Spec, _ func(drivers.Progress)) (drivers.Handle, error) {
	planned := ""
	h, err := d.Keeper.Create(ctx, spec, func(w *process.Workload, l *shim.Launch) (process.Plan, error) {
		planned = w.Key
		return d.plan(ctx, w, l, spec)
	})
	if err != nil && planned != "" {
		return h, errors.Join(err, d.network.down(context.WithoutCancel(ctx), planned))
	}
	return h, err
}

// plan decides all that edgeshim has to know.
func (d *Driver) plan(ctx context.Context, w *process.Workload, l *shim.Launch, spec drivers.Spec) (process.Plan, error) {
	var none process.Plan
	if err := checkSpec(spec); err != nil {
		return none, w.Errorf(drivers.ErrUnsupported, "%w", err)
	}
	img, err := inspect(spec.Image.Path)
	if err != nil {
		return none, w.Errorf(drivers.ErrImage, "%w", err)
	}
	t, err := d.tenderFor(ctx, img)
	if err != nil {
		return none, w.Errorf(drivers.ErrImage, "image %s: %w", spec.Image.Path, err)
	}
	g := machine{image: spec.Image.Path, args: spec.Args, devices: img.Devices, blockBytes: d.cfg.BlockBytes}
	if g.memoryMiB, err = guestMemory(spec.Resources.MemoryBytes, img); err != nil {
		return none, w.Errorf(drivers.ErrInvalid, "%w", err)
	}
	if err := d.limit(w, l, t, g.memoryMiB); err != nil {
		return none, err
	}
	if err := d.attach(w, l, &g, spec); err != nil {
		return none, err
	}
	if n := len(strings.Join(g.args, " ")); n > maxArgumentBytes {
		return none, w.Errorf(drivers.ErrInvalid, "the arguments have %d bytes, at most %d fit", n, maxArgumentBytes)
	}
	t.prepare(l, &g)
	l.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", shim.Marker + "=" + w.UniqueName()}
	return process.Plan{Launch: l, Fill: func(work string) error { return g.fill(work, l) }}, nil
}

// checkSpec refuses what a unikernel does not have.
func checkSpec(spec drivers.Spec) error {
	var errs []error
	for _, c := range []struct {
		given bool
		what  string
	}{
		{len(spec.Command) > 0, "command: a unikernel is one program; give its arguments in args"},
		{len(spec.Env) > 0, "env: a unikernel has no environment; give its settings in args"},
		{spec.Workdir != "", "workdir: a unikernel has no files"},
		{spec.User != "", "user: a unikernel has no users"},
		{spec.Resources.PIDs > 0, "pids: a unikernel has no processes"},
	} {
		if c.given {
			errs = append(errs, errors.New(c.what))
		}
	}
	return errors.Join(errs...)
}

// inspect reads what an image is, and whether this machine's processor runs it.
func inspect(path string) (solo5.Image, error) {
	if !filepath.IsAbs(path) {
		return solo5.Image{}, fmt.Errorf("image path %q is not absolute", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return solo5.Image{}, fmt.Errorf("image: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return solo5.Image{}, fmt.Errorf("image %s is not a file", path)
	}
	img, err := solo5.Inspect(f, info.Size())
	if err != nil {
		return solo5.Image{}, fmt.Errorf("image %s: %w", path, err)
	}
	if img.Arch != runtime.GOARCH {
		return solo5.Image{}, fmt.Errorf("image %s is built for %s, this node is %s", path, img.Arch, runtime.GOARCH)
	}
	return img, nil
}

// guestMemory is what a guest gets, in MiB: at least what was asked for, and
// even, for large pages.
func guestMemory(bytes int64, img solo5.Image) (int64, error) {
	mib := int64(defaultMemoryMiB)
	if bytes > 0 {
		mib = (bytes + 1<<20 - 1) >> 20
		mib += mib & 1
	}
	if mib > maxMemoryMiB {
		return 0, fmt.Errorf("memory of %d MiB: a unikernel can have at most %d", mib, maxMemoryMiB)
	}
	// There must be room for a stack and some heap.
	if least := int64(img.EndBytes>>20) + 1; mib < least {
		return 0, fmt.Errorf("memory of %d MiB: the image alone needs %d; ask for more in requirements", mib, least)
	}
	return mib, nil
}

// limit sets what the tender may use. The guest's memory is bounded by what the
// machine it sees has; the control group is for the tender.
func (d *Driver) limit(w *process.Workload, l *shim.Launch, t tender, mib int64) error {
	l.Limits.MemoryBytes = 0
	if err := w.CheckLimits(l.Limits); err != nil {
		return err
	}
	if d.Cgroups().Memory {
		l.Limits.MemoryBytes = mib<<20 + t.overhead()
	}
	return nil
}

// attach gives the guest its devices.
func (d *Driver) attach(w *process.Workload, l *shim.Launch, g *machine, spec drivers.Spec) error {
	nets := 0
	for _, device := range g.devices {
		if device.Type == solo5.Net {
			nets++
		} else if d.cfg.BlockBytes <= 0 {
			return w.Errorf(drivers.ErrUnsupported, "the image wants a block device %s, and this node gives none; set drivers.mirage.block_mb in its configuration", device.Name)
		}
	}
	if nets == 0 {
		if len(spec.Ports) > 0 {
			return w.Errorf(drivers.ErrInvalid, "the job has ports, but the image has no net device")
		}
		return nil
	}
	r, err := d.network.reserve(w.Key, spec.ID, g.devices, spec.Args, spec.Ports)
	if err != nil {
		return w.Errorf(networkClass(err), "%w", err)
	}
	g.taps = r.Taps
	if _, given := givenAddress(spec.Args); !given {
		g.args = append(d.network.arguments(r.Address), g.args...)
	}
	for _, p := range r.Ports {
		l.Ports = append(l.Ports, shim.Port{Name: p.Name, Protocol: p.Protocol, Port: p.Port, HostPort: p.HostPort})
	}
	return nil
}

// machine is what a tender has to know about a guest.
type machine struct {
	image      string // path
	copied     bool   // whether the tender uses a copy in the work folder
	args       []string
	memoryMiB  int64
	devices    []solo5.Device
	taps       []tap // of the net devices
	blockBytes int64
}

// fill makes block devices, and the copy of the image.
func (g *machine) fill(work string, l *shim.Launch) error {
	for _, device := range g.devices {
		if device.Type != solo5.Block {
			continue
		}
		if err := makeBlock(filepath.Join(work, blockFile(device)), g.blockBytes, l); err != nil {
			return fmt.Errorf("make block device %s: %w", device.Name, err)
		}
	}
	if !g.copied {
		return nil
	}
	return copyFile(filepath.Join(work, imageFile), g.image)
}

func blockFile(device solo5.Device) string { return device.Name + ".img" }

// makeBlock makes a file that takes no room yet.
func makeBlock(path string, size int64, l *shim.Launch) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(size &^ 4095) // whole sectors, of any size
	if err == nil && l.SetUser {
		err = f.Chown(int(l.UID), int(l.GID))
	}
	return errors.Join(err, f.Close())
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
