package fake

import (
	"context"
	"errors"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

func isNotFound(err error) bool { return errors.Is(err, drivers.ErrNotFound) }

// Status implements drivers.Driver.
func (d *Driver) Status(ctx context.Context, h drivers.Handle) (drivers.Status, error) {
	w, err := d.open(ctx, OpStatus, h)
	if err != nil {
		return drivers.Status{}, err
	}
	defer d.host.mu.Unlock()
	return drivers.Status{Phase: w.phase, StartedAt: w.started, PID: w.pid, Exit: w.exit}, nil
}

// Wait implements drivers.Driver.
func (d *Driver) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	w, err := d.open(ctx, OpWait, h)
	if err != nil {
		return drivers.Exit{}, err
	}
	run := w.run
	for {
		phase, exit, removed, ch := w.phase, w.exit, w.removed, w.changed.wait()
		again := w.run != run
		d.host.mu.Unlock()
		switch {
		case removed:
			return drivers.Exit{}, drivers.Errorf(drivers.ErrNotFound, string(OpWait), h.ID, "it was removed")
		case phase == drivers.PhaseCreated:
			return drivers.Exit{}, drivers.Errorf(drivers.ErrConflict, string(OpWait), h.ID, "it was never started")
		case phase == drivers.PhaseExited, again:
			return exit, nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return drivers.Exit{}, drivers.Errorf(drivers.ErrUnavailable, string(OpWait), h.ID, "%w", ctx.Err())
		}
		d.host.mu.Lock()
	}
}

// Logs implements drivers.Driver.
func (d *Driver) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	w, err := d.open(ctx, OpLogs, h)
	if err != nil {
		return err
	}
	for next := w.tail(o.Tail); ; {
		entries, removed, ch := w.log[next:], w.removed, w.changed.wait()
		next = len(w.log)
		d.host.mu.Unlock()
		for _, e := range entries {
			if !e.at.After(o.Since) {
				continue
			}
			if err := sink(drivers.LogEntry{Time: e.at, Stream: e.stream, Data: []byte(e.text)}); err != nil {
				return err
			}
		}
		if !o.Follow || removed {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return drivers.Errorf(drivers.ErrUnavailable, string(OpLogs), h.ID, "%w", ctx.Err())
		}
		d.host.mu.Lock()
	}
}

// List implements drivers.Driver.
func (d *Driver) List(ctx context.Context) ([]drivers.Handle, error) {
	if err := d.begin(ctx, OpList, ""); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	handles := make([]drivers.Handle, 0, len(d.host.workloads))
	for k := range d.host.workloads {
		handles = append(handles, handle(k))
	}
	return handles, nil
}

// Stats implements drivers.StatsReader: a workload uses one core and 1 MiB.
func (d *Driver) Stats(ctx context.Context, h drivers.Handle) (drivers.Stats, error) {
	w, err := d.open(ctx, OpStats, h)
	if err != nil {
		return drivers.Stats{}, err
	}
	defer d.host.mu.Unlock()
	if w.phase != drivers.PhaseRunning {
		return drivers.Stats{}, drivers.Errorf(drivers.ErrConflict, string(OpStats), h.ID, "it is not running")
	}
	now := time.Now()
	return drivers.Stats{At: now, CPUTime: now.Sub(w.started), MemoryBytes: 1 << 20, PIDs: 1}, nil
}
