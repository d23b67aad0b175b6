package fake

import (
	"context"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

const (
	name          = "fake"
	handleVersion = 1
)

// Driver is an agent's view of a Host. It keeps no state of its own.
type Driver struct{ host *Host }

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
	_ drivers.Watcher     = (*Driver)(nil)
)

// New returns a Driver for the workloads of host.
func New(host *Host) *Driver { return &Driver{host: host} }

// Probe says usable unless Host.Down was called.
func (d *Driver) Probe(context.Context) drivers.Info {
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	return drivers.Info{
		Name: name, Usable: !d.host.down, Version: "1", Endpoint: "memory",
		Features: []drivers.Feature{drivers.FeatureDevices, drivers.FeatureImagePull, drivers.FeatureStats},
		Reason:   d.host.reason, Remedy: d.host.remedy,
	}
}

// Watch calls changed after each Host.Down and Host.Up.
func (d *Driver) Watch(ctx context.Context, changed func()) error {
	for {
		d.host.mu.Lock()
		ch := d.host.changed.wait()
		d.host.mu.Unlock()
		select {
		case <-ch:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin suffers the faults of op.
func (d *Driver) begin(ctx context.Context, op Op, id string) error {
	d.host.mu.Lock()
	down, reason := d.host.down, d.host.reason
	var f Fault
	if p := d.host.faults[op]; p != nil {
		f = *p
		if p.Times > 0 {
			if p.Times--; p.Times == 0 {
				delete(d.host.faults, op)
			}
		}
	}
	d.host.mu.Unlock()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return drivers.Errorf(drivers.ErrUnavailable, string(op), id, "%w", err)
	}
	if f.Err != nil {
		return f.Err
	}
	if down {
		return drivers.Errorf(drivers.ErrUnavailable, string(op), id, "the fake runtime is down: %s", reason)
	}
	return nil
}

// open suffers the faults of op and finds the workload of h. If err is nil, the
// host is locked and the caller unlocks it.
func (d *Driver) open(ctx context.Context, op Op, h drivers.Handle) (*workload, error) {
	if h.Driver != name || h.Version != handleVersion {
		return nil, drivers.Errorf(drivers.ErrInvalid, string(op), h.ID, "handle of driver %q version %d, want %q version %d", h.Driver, h.Version, name, handleVersion)
	}
	if err := d.begin(ctx, op, h.ID); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	w := d.host.workloads[key{h.ID, h.Generation}]
	if w == nil {
		d.host.mu.Unlock()
		return nil, drivers.Errorf(drivers.ErrNotFound, string(op), h.ID, "no such workload")
	}
	return w, nil
}

// Create implements drivers.Driver.
func (d *Driver) Create(ctx context.Context, spec drivers.Spec, progress func(drivers.Progress)) (drivers.Handle, error) {
	if err := spec.Check(); err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, string(OpCreate), spec.ID, "%w", err)
	}
	if progress != nil {
		progress(drivers.Progress{Phase: "pulling"})
	}
	if err := d.begin(ctx, OpCreate, spec.ID); err != nil {
		return drivers.Handle{}, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	k := key{spec.ID, spec.Generation}
	if d.host.workloads[k] == nil {
		d.host.workloads[k] = &workload{host: d.host, spec: spec, script: d.host.script(spec), phase: drivers.PhaseCreated}
	}
	return handle(k), nil
}

func handle(k key) drivers.Handle {
	return drivers.Handle{Driver: name, Version: handleVersion, ID: k.id, Generation: k.generation}
}

// Start implements drivers.Driver.
func (d *Driver) Start(ctx context.Context, h drivers.Handle) error {
	w, err := d.open(ctx, OpStart, h)
	if err != nil {
		return err
	}
	defer d.host.mu.Unlock()
	if w.phase != drivers.PhaseRunning {
		w.start()
	}
	return nil
}

// Stop implements drivers.Driver.
func (d *Driver) Stop(ctx context.Context, h drivers.Handle, o drivers.StopOptions) error {
	w, err := d.open(ctx, OpStop, h)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.Signal == "" {
		o.Signal = "SIGTERM"
	}
	if signals[o.Signal] == 0 {
		d.host.mu.Unlock()
		return drivers.Errorf(drivers.ErrInvalid, string(OpStop), h.ID, "unknown signal %q", o.Signal)
	}
	if o.Grace <= 0 {
		o.Signal = "SIGKILL"
	}
	w.signal(o.Signal)
	run := w.run
	d.host.mu.Unlock()

	grace := time.NewTimer(o.Grace)
	defer grace.Stop()
	over := grace.C
	for {
		d.host.mu.Lock()
		ended := w.phase != drivers.PhaseRunning || w.run != run
		ch := w.changed.wait()
		d.host.mu.Unlock()
		if ended {
			return nil
		}
		select {
		case <-ch:
		case <-over:
			over = nil
			d.host.mu.Lock()
			w.signal("SIGKILL")
			d.host.mu.Unlock()
		case <-ctx.Done():
			return drivers.Errorf(drivers.ErrUnavailable, string(OpStop), h.ID, "%w", ctx.Err())
		}
	}
}

// Remove implements drivers.Driver.
func (d *Driver) Remove(ctx context.Context, h drivers.Handle) error {
	w, err := d.open(ctx, OpRemove, h)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.host.mu.Unlock()
	if w.phase == drivers.PhaseRunning {
		return drivers.Errorf(drivers.ErrConflict, string(OpRemove), h.ID, "it is running; stop it first")
	}
	delete(d.host.workloads, key{h.ID, h.Generation})
	w.removed = true
	w.changed.fire()
	return nil
}
