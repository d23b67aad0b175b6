package native

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/logread"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Status implements drivers.Driver.
func (d *Driver) Status(_ context.Context, h drivers.Handle) (drivers.Status, error) {
	w, err := d.open("status", h)
	if err != nil {
		return drivers.Status{}, err
	}
	st, err := w.state()
	if err != nil {
		return drivers.Status{}, err
	}
	status := drivers.Status{Phase: st.phase}
	if st.run != nil {
		status.StartedAt = st.run.StartedAt
	}
	if st.phase == drivers.PhaseRunning {
		status.PID = st.run.Main.PID
	}
	if st.exit != nil {
		status.Exit = exit(st.exit)
	}
	if l, err := w.launch(); err == nil {
		for _, p := range l.Ports {
			status.Ports = append(status.Ports, drivers.Port{Name: p.Name, Protocol: p.Protocol, Port: p.Port, HostPort: p.HostPort})
		}
	}
	return status, nil
}

func exit(e *shim.Exit) drivers.Exit {
	return drivers.Exit{Code: e.Code, OOMKilled: e.OOM, Lost: e.Lost, Reason: e.Reason, At: e.At}
}

// Wait implements drivers.Driver.
func (d *Driver) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	w, err := d.open("wait", h)
	if err != nil {
		return drivers.Exit{}, err
	}
	return w.waitRun(ctx)
}

// shimPause is the pause between looks at an edgeshim that does not answer:
// one that is just ending, or that hangs.
const (
	shimPauseMin = time.Millisecond
	shimPauseMax = time.Second
)

// waitRun waits for the end of the current run.
func (w *workload) waitRun(ctx context.Context) (drivers.Exit, error) {
	number := 0 // of the run that is waited for
	for pause := shimPauseMin; ; pause = min(2*pause, shimPauseMax) {
		st, err := w.state()
		if err != nil {
			return drivers.Exit{}, err
		}
		if st.phase == drivers.PhaseCreated {
			return drivers.Exit{}, w.errorf(drivers.ErrConflict, "it was never started")
		}
		if st.phase == drivers.PhaseExited {
			return exit(st.exit), nil
		}
		if number == 0 {
			number = st.run.Number
		}
		if st.run.Number != number { // started again meanwhile
			return w.earlierExit()
		}
		if w.waitShim(ctx) == nil {
			pause = shimPauseMin
		}
		if err := ctx.Err(); err != nil {
			return drivers.Exit{}, w.errorf(drivers.ErrUnavailable, "%w", err)
		}
		if st, err = w.state(); err != nil || st.phase != drivers.PhaseRunning {
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return drivers.Exit{}, w.errorf(drivers.ErrUnavailable, "%w", ctx.Err())
		}
	}
}

// earlierExit reads how the run before the current one ended.
func (w *workload) earlierExit() (drivers.Exit, error) {
	b, err := os.ReadFile(filepath.Join(w.dir, shim.FileExit))
	if err != nil {
		return drivers.Exit{}, w.fail(err)
	}
	e, err := shim.ParseExit(b)
	if err != nil {
		return drivers.Exit{}, w.errorf(drivers.ErrUnavailable, "%w", err)
	}
	return exit(e), nil
}

// waitShim waits until edgeshim closes its end of a connection.
func (w *workload) waitShim(ctx context.Context) error {
	c, err := w.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer expire(ctx, c)()
	_, err = io.Copy(io.Discard, c)
	return err
}

// Logs implements drivers.Driver.
func (d *Driver) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	w, err := d.open("logs", h)
	if err != nil {
		return err
	}
	var sinkErr error
	err = logread.Read(ctx, &d.notify, filepath.Join(w.dir, shim.FileLog), o, func(e drivers.LogEntry) error {
		sinkErr = sink(e)
		return sinkErr
	})
	switch {
	case err == nil || sinkErr != nil:
		return err
	case errors.Is(err, os.ErrNotExist):
		return w.errorf(drivers.ErrNotFound, "no such workload")
	}
	return w.fail(err)
}

// List implements drivers.Driver.
func (d *Driver) List(context.Context) ([]drivers.Handle, error) {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return nil, drivers.Errorf(class(err), "list", "", "%w", err)
	}
	handles := make([]drivers.Handle, 0, len(entries))
	for _, e := range entries {
		if h, ok := parseFolder(e.Name()); ok {
			handles = append(handles, h)
		}
	}
	return handles, nil
}

// ticksPerSecond is the unit of times in /proc, the same on all of our machines.
const ticksPerSecond = 100

// Stats implements drivers.StatsReader. What the control groups do not count
// is summed up over the processes.
func (d *Driver) Stats(_ context.Context, h drivers.Handle) (drivers.Stats, error) {
	w, err := d.open("stats", h)
	if err != nil {
		return drivers.Stats{}, err
	}
	st, err := w.state()
	if err != nil {
		return drivers.Stats{}, err
	}
	if st.phase != drivers.PhaseRunning {
		return drivers.Stats{}, w.errorf(drivers.ErrConflict, "it is not running")
	}
	l, err := w.launch()
	if err != nil {
		return drivers.Stats{}, err
	}
	u := l.Cgroup.Usage()
	if u.CPUTime == 0 || u.MemoryBytes == 0 || u.PIDs == 0 {
		var ticks uint64
		var pages, pids int64
		for _, pid := range shim.Descendants(st.run.Shim.PID) {
			if s, err := shim.ReadStat(pid); err == nil {
				ticks, pages, pids = ticks+s.Ticks, pages+s.Pages, pids+1
			}
		}
		u.CPUTime = max(u.CPUTime, time.Duration(ticks)*time.Second/ticksPerSecond)
		u.MemoryBytes = max(u.MemoryBytes, pages*int64(os.Getpagesize()))
		u.PIDs = max(u.PIDs, pids)
	}
	return drivers.Stats{At: time.Now(), CPUTime: u.CPUTime, MemoryBytes: u.MemoryBytes, PIDs: u.PIDs}, nil
}
