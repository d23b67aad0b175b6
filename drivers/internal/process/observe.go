package process

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
func (k *Keeper) Status(_ context.Context, h drivers.Handle) (drivers.Status, error) {
	w, err := k.Open("status", h)
	if err != nil {
		return drivers.Status{}, err
	}
	st, err := w.State()
	if err != nil {
		return drivers.Status{}, err
	}
	status := drivers.Status{Phase: st.Phase}
	if st.Run != nil {
		status.StartedAt = st.Run.StartedAt
	}
	if st.Phase == drivers.PhaseRunning {
		status.PID = st.Run.Main.PID
	}
	if st.Exit != nil {
		status.Exit = w.exit(st.Run.StartedAt, st.Exit)
	}
	if l, err := w.Launch(); err == nil {
		for _, p := range l.Ports {
			status.Ports = append(status.Ports, drivers.Port{Name: p.Name, Protocol: p.Protocol, Port: p.Port, HostPort: p.HostPort})
		}
	}
	return status, nil
}

func (w *Workload) exit(started time.Time, e *shim.Exit) drivers.Exit {
	exit := drivers.Exit{Code: e.Code, OOMKilled: e.OOM, Lost: e.Lost, Reason: e.Reason, At: e.At}
	if w.k.cfg.Explain != nil && !e.Lost {
		exit = w.k.cfg.Explain(w, started, exit)
	}
	return exit
}

// Wait implements drivers.Driver.
func (k *Keeper) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	w, err := k.Open("wait", h)
	if err != nil {
		return drivers.Exit{}, err
	}
	return w.WaitRun(ctx)
}

// shimPause is the pause between looks at an edgeshim that does not answer:
// one that is just ending, or that hangs.
const (
	shimPauseMin = time.Millisecond
	shimPauseMax = time.Second
)

// WaitRun waits for the end of the current run.
func (w *Workload) WaitRun(ctx context.Context) (drivers.Exit, error) {
	number := 0 // of the run that is waited for
	for pause := shimPauseMin; ; pause = min(2*pause, shimPauseMax) {
		st, err := w.State()
		if err != nil {
			return drivers.Exit{}, err
		}
		if st.Phase == drivers.PhaseCreated {
			return drivers.Exit{}, w.Errorf(drivers.ErrConflict, "it was never started")
		}
		if st.Phase == drivers.PhaseExited {
			return w.exit(st.Run.StartedAt, st.Exit), nil
		}
		if number == 0 {
			number = st.Run.Number
		}
		if st.Run.Number != number { // started again meanwhile
			return w.earlierExit()
		}
		if w.waitShim(ctx) == nil {
			pause = shimPauseMin
		}
		if err := ctx.Err(); err != nil {
			return drivers.Exit{}, w.Errorf(drivers.ErrUnavailable, "%w", err)
		}
		if st, err = w.State(); err != nil || st.Phase != drivers.PhaseRunning {
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return drivers.Exit{}, w.Errorf(drivers.ErrUnavailable, "%w", ctx.Err())
		}
	}
}

// earlierExit reads how the run before the current one ended.
func (w *Workload) earlierExit() (drivers.Exit, error) {
	b, err := os.ReadFile(filepath.Join(w.Dir, shim.FileExit))
	if err != nil {
		return drivers.Exit{}, w.Fail(err)
	}
	e, err := shim.ParseExit(b)
	if err != nil {
		return drivers.Exit{}, w.Errorf(drivers.ErrUnavailable, "%w", err)
	}
	return w.exit(time.Time{}, e), nil
}

// waitShim waits until edgeshim closes its end of a connection.
func (w *Workload) waitShim(ctx context.Context) error {
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
func (k *Keeper) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	w, err := k.Open("logs", h)
	if err != nil {
		return err
	}
	var sinkErr error
	err = logread.Read(ctx, &k.notify, filepath.Join(w.Dir, shim.FileLog), o, func(e drivers.LogEntry) error {
		sinkErr = sink(e)
		return sinkErr
	})
	switch {
	case err == nil || sinkErr != nil:
		return err
	case errors.Is(err, os.ErrNotExist):
		return w.Errorf(drivers.ErrNotFound, "no such workload")
	}
	return w.Fail(err)
}

// List implements drivers.Driver.
func (k *Keeper) List(context.Context) ([]drivers.Handle, error) {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return nil, drivers.Errorf(Class(err), "list", "", "%w", err)
	}
	handles := make([]drivers.Handle, 0, len(entries))
	for _, e := range entries {
		if id, generation, ok := parseFolder(e.Name()); ok {
			handles = append(handles, k.handle(id, generation))
		}
	}
	return handles, nil
}

// ticksPerSecond is the unit of times in /proc, the same on all of our machines.
const ticksPerSecond = 100

// Stats implements drivers.StatsReader. What the control groups do not count
// is summed up over the processes.
func (k *Keeper) Stats(_ context.Context, h drivers.Handle) (drivers.Stats, error) {
	w, err := k.Open("stats", h)
	if err != nil {
		return drivers.Stats{}, err
	}
	st, err := w.State()
	if err != nil {
		return drivers.Stats{}, err
	}
	if st.Phase != drivers.PhaseRunning {
		return drivers.Stats{}, w.Errorf(drivers.ErrConflict, "it is not running")
	}
	l, err := w.Launch()
	if err != nil {
		return drivers.Stats{}, err
	}
	u := l.Cgroup.Usage()
	if u.CPUTime == 0 || u.MemoryBytes == 0 || u.PIDs == 0 {
		var ticks uint64
		var pages, pids int64
		for _, pid := range shim.Descendants(st.Run.Shim.PID) {
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
