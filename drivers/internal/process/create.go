package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Plan is what a driver has decided about a new workload.
type Plan struct {
	Launch *shim.Launch
	// Fill puts files into the work folder, before it appears. May be nil.
	Fill func(work string) error
}

// Create makes the workload of spec, as drivers.Driver wants it. plan decides
// what is run; the launch that it gets is filled in but for the program, its
// surroundings and its user.
func (k *Keeper) Create(ctx context.Context, spec drivers.Spec, plan func(*Workload, *shim.Launch) (Plan, error)) (drivers.Handle, error) {
	const op = "create"
	if err := spec.Check(); err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "%w", err)
	}
	h := k.handle(spec.ID, spec.Generation)
	w, err := k.Open(op, h)
	if err != nil {
		return drivers.Handle{}, err
	}
	defer k.locks.lock(w.Key)()
	if err := ctx.Err(); err != nil {
		return drivers.Handle{}, w.Errorf(drivers.ErrUnavailable, "%w", err)
	}
	if _, err := os.Stat(w.Dir); err == nil {
		return h, nil
	}
	p, err := plan(w, w.blankLaunch(spec))
	if err != nil {
		return drivers.Handle{}, err
	}
	if err := w.makeFolder(p); err != nil {
		return drivers.Handle{}, w.Fail(err)
	}
	return h, nil
}

// blankLaunch has all that does not depend on what is run.
func (w *Workload) blankLaunch(spec drivers.Spec) *shim.Launch {
	return &shim.Launch{
		ID: spec.ID, Generation: spec.Generation, Image: spec.Image.Path,
		Dir:    filepath.Join(w.Dir, shim.DirWork),
		Cgroup: w.k.cgroups.Group(w.UniqueName()),
		Limits: cgroup.Limits{
			CPUMillis: spec.Resources.CPUMillis, MemoryBytes: spec.Resources.MemoryBytes, PIDs: spec.Resources.PIDs,
		},
		LogBytes: w.k.cfg.LogBytes, LogFiles: w.k.cfg.LogFiles,
	}
}

// UniqueName keeps the workloads of two agents on one machine apart.
func (w *Workload) UniqueName() string {
	return fmt.Sprintf("%08x-%s", Hash(w.k.cfg.Dir), w.Key)
}

// Hash is FNV-1a, for names that are short and mostly unique.
func Hash(s string) uint32 {
	sum := uint32(2166136261)
	for _, b := range []byte(s) {
		sum = (sum ^ uint32(b)) * 16777619
	}
	return sum
}

// CheckLimits refuses limits that the control groups here cannot enforce.
func (w *Workload) CheckLimits(l cgroup.Limits) error {
	can := w.k.cgroups
	for _, c := range []struct {
		name     string
		wanted   int64
		possible bool
	}{{"cpu", l.CPUMillis, can.CPU}, {"memory", l.MemoryBytes, can.Memory}, {"pids", l.PIDs, can.PIDs}} {
		if c.wanted > 0 && !c.possible {
			return w.Errorf(drivers.ErrUnsupported, "cannot enforce a %s limit here: %s; %s", c.name, can.Reason, RemedyCgroups)
		}
	}
	return nil
}

// RemedyCgroups is what to do about missing control groups.
const RemedyCgroups = "run edgeagent as root with control groups mounted at /sys/fs/cgroup"

// makeFolder makes the workload's folder appear at once and complete. It may be
// gone after a loss of power, which ends the workload, too: it is then created
// again. So nothing is waited for but that it is never there with less than all
// of its record; on small boards each wait for the disk takes long.
func (w *Workload) makeFolder(p Plan) (err error) {
	l := p.Launch
	tmp, err := os.MkdirTemp(w.k.cfg.Dir, prefixNew)
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
	if p.Fill != nil {
		if err := p.Fill(work); err != nil {
			return err
		}
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
	return os.Rename(tmp, w.Dir)
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

// Launch reads back what was decided when w was created.
func (w *Workload) Launch() (*shim.Launch, error) {
	b, err := os.ReadFile(filepath.Join(w.Dir, shim.FileLaunch))
	if errors.Is(err, os.ErrNotExist) {
		return nil, w.Errorf(drivers.ErrNotFound, "no such workload")
	}
	if err != nil {
		return nil, w.Fail(err)
	}
	l, err := shim.ParseLaunch(b)
	if err != nil {
		return nil, w.Errorf(drivers.ErrNotFound, "its record %s/%s is damaged: %w", w.Dir, shim.FileLaunch, err)
	}
	return l, nil
}
