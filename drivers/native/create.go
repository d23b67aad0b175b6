package native

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

func isExhausted(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Create implements drivers.Driver. The image is a file or folder that is there.
func (d *Driver) Create(ctx context.Context, spec drivers.Spec, _ func(drivers.Progress)) (drivers.Handle, error) {
	const op = "create"
	if err := spec.Check(); err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "%w", err)
	}
	h := handle(spec.ID, spec.Generation)
	w, err := d.open(op, h)
	if err != nil {
		return drivers.Handle{}, err
	}
	defer d.locks.lock(w.key)()
	if err := ctx.Err(); err != nil {
		return drivers.Handle{}, w.errorf(drivers.ErrUnavailable, "%w", err)
	}
	if _, err := os.Stat(w.dir); err == nil {
		return h, nil
	}
	l, err := w.plan(spec)
	if err != nil {
		return drivers.Handle{}, err
	}
	if err := w.makeFolder(l); err != nil {
		return drivers.Handle{}, w.fail(err)
	}
	return h, nil
}

// plan decides all that edgeshim has to know.
func (w *workload) plan(spec drivers.Spec) (*shim.Launch, error) {
	if err := w.checkLimits(spec.Resources); err != nil {
		return nil, err
	}
	l := &shim.Launch{
		ID: spec.ID, Generation: spec.Generation, Image: spec.Image.Path,
		Cgroup: w.cgroups.Group(w.uniqueName()),
		Limits: cgroup.Limits{
			CPUMillis: spec.Resources.CPUMillis, MemoryBytes: spec.Resources.MemoryBytes, PIDs: spec.Resources.PIDs,
		},
		LogBytes: w.cfg.LogBytes, LogFiles: w.cfg.LogFiles,
	}
	l.Dir = filepath.Join(w.dir, shim.DirWork)
	if spec.Workdir != "" {
		if !filepath.IsAbs(spec.Workdir) {
			return nil, w.errorf(drivers.ErrInvalid, "workdir %q is not an absolute path", spec.Workdir)
		}
		l.Dir = spec.Workdir
	}
	if err := w.setUser(l, spec.User); err != nil {
		return nil, err
	}
	given, err := w.giveDevices(l, spec.Devices)
	if err != nil {
		return nil, err
	}
	for _, p := range spec.Ports {
		if p.HostPort == 0 {
			p.HostPort = p.Port
		}
		l.Ports = append(l.Ports, shim.Port{Name: p.Name, Protocol: p.Protocol, Port: p.Port, HostPort: p.HostPort})
	}
	maps.Copy(given, spec.Env)
	l.Env = environment(given, filepath.Join(w.dir, shim.DirWork), l)
	l.Env = append(l.Env, shim.Marker+"="+w.uniqueName())
	return l, w.setProgram(l, spec)
}

// uniqueName keeps the workloads of two agents on one machine apart.
func (w *workload) uniqueName() string {
	sum := uint32(2166136261) // FNV-1a of the folder's path
	for _, b := range []byte(w.cfg.Dir) {
		sum = (sum ^ uint32(b)) * 16777619
	}
	return fmt.Sprintf("%08x-%s", sum, w.key)
}

func (w *workload) checkLimits(r drivers.Resources) error {
	for _, c := range []struct {
		name     string
		wanted   int64
		possible bool
	}{{"cpu", r.CPUMillis, w.cgroups.CPU}, {"memory", r.MemoryBytes, w.cgroups.Memory}, {"pids", r.PIDs, w.cgroups.PIDs}} {
		if c.wanted > 0 && !c.possible {
			return w.errorf(drivers.ErrUnsupported, "cannot enforce a %s limit here: %s; %s", c.name, w.cgroups.Reason, remedyCgroups)
		}
	}
	return nil
}

const remedyCgroups = "run edgeagent as root with control groups mounted at /sys/fs/cgroup"

// defaultPath is what login programs of Debian give to users.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is env with what every workload gets besides, unless it says
// otherwise: PATH, HOME, EDGEIO_IMAGE and EDGEIO_PORT_*.
func environment(env map[string]string, home string, l *shim.Launch) []string {
	all := map[string]string{"PATH": defaultPath, "HOME": home}
	if l.Image != "" {
		all["EDGEIO_IMAGE"] = l.Image
	}
	for _, p := range l.Ports {
		all["EDGEIO_PORT_"+portVariable(p)] = strconv.Itoa(int(p.HostPort))
	}
	maps.Copy(all, env)
	var list []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		list = append(list, k+"="+all[k])
	}
	return list
}

func portVariable(p shim.Port) string {
	if p.Name == "" {
		return strconv.Itoa(int(p.Port))
	}
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(p.Name))
}

// makeFolder makes the workload's folder appear at once and complete. It may be
// gone after a loss of power, which ends the workload, too: it is then created
// again. So nothing is waited for but that it is never there with less than all
// of its record; on small boards each wait for the disk takes long.
func (w *workload) makeFolder(l *shim.Launch) (err error) {
	tmp, err := os.MkdirTemp(w.cfg.Dir, prefixNew)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	work := filepath.Join(tmp, shim.DirWork)
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	if l.SetUser {
		if err := os.Chown(work, int(l.UID), int(l.GID)); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o711); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, shim.FileLaunch), l.Append(nil)); err != nil {
		return err
	}
	return os.Rename(tmp, w.dir)
}

// writeSynced writes a new file whose content is on disk when it returns.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// launch reads back what plan decided.
func (w *workload) launch() (*shim.Launch, error) {
	b, err := os.ReadFile(filepath.Join(w.dir, shim.FileLaunch))
	if errors.Is(err, os.ErrNotExist) {
		return nil, w.errorf(drivers.ErrNotFound, "no such workload")
	}
	if err != nil {
		return nil, w.fail(err)
	}
	l, err := shim.ParseLaunch(b)
	if err != nil {
		return nil, w.errorf(drivers.ErrNotFound, "its record %s/%s is damaged: %w", w.dir, shim.FileLaunch, err)
	}
	return l, nil
}
