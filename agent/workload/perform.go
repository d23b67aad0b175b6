package workload

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// Deadlines of calls to drivers: a daemon that hangs must not hold an instance
// for ever. Create has none, because an image may be large and the line slow.
const (
	startTimeout  = 2 * time.Minute
	statusTimeout = 15 * time.Second
	stopMargin    = time.Minute // on top of the grace time
	removeTimeout = 2 * time.Minute
	tailTimeout   = 2 * time.Second
)

// maxPIDs bounds the processes and threads of a workload, so that one that
// multiplies without end does not take the node with it. Linux has 32768 in
// all by default; hardly anything honest at the edge needs this many.
const maxPIDs = 4096

// Bounds of what is shown of an instance's output when it fails.
const (
	tailLines = 5
	tailBytes = 1024
)

// perform does one action and returns what came of it.
func (s *Supervisor) perform(ctx context.Context, a *actor, in Instance, act Action) Event {
	var ev Event
	var err error
	switch act.Kind {
	case ActSleep:
		s.sleep(ctx, a, act.For)
		return Event{Kind: EventTimer}
	case ActClear:
		ev, err = s.clear(ctx, in)
	default:
		r, ok := s.runtimes[in.Job.Runtime]
		if !ok {
			// Nothing can be done for it here any more; see failForeign.
			return map[ActionKind]Event{ActStop: {Kind: EventStopped}, ActRemove: {Kind: EventRemoved}}[act.Kind]
		}
		ev, err = s.call(ctx, a, r, in, act.Kind)
	}
	if err != nil {
		s.log.Debug("action not done", "instance", in.ID, "phase", in.Phase, "error", err)
		return Event{Kind: EventError, Err: err}
	}
	return ev
}

func (s *Supervisor) sleep(ctx context.Context, a *actor, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-a.kick:
	}
}

func (s *Supervisor) call(ctx context.Context, a *actor, r *runtime, in Instance, kind ActionKind) (Event, error) {
	switch kind {
	case ActCreate:
		return s.create(ctx, a, r, in)
	case ActStart:
		return s.startWorkload(ctx, r, in)
	case ActInspect:
		return s.inspect(ctx, r, in)
	case ActWait:
		exit, err := r.driver.Wait(ctx, *in.Handle)
		if err != nil {
			return Event{}, err
		}
		return Event{Kind: EventExited, Exit: exit, Tail: tail(ctx, r.driver, in, exit)}, nil
	case ActStop:
		if in.Handle == nil {
			return Event{Kind: EventStopped}, nil
		}
		return Event{Kind: EventStopped}, stop(ctx, r.driver, *in.Handle, in.stopOptions())
	case ActRemove:
		if in.Handle == nil {
			return Event{Kind: EventRemoved}, nil
		}
		if err := remove(ctx, r.driver, *in.Handle); err != nil {
			return Event{}, err
		}
		return Event{Kind: EventRemoved}, nil
	}
	panic("workload: no such action")
}

func (s *Supervisor) create(ctx context.Context, a *actor, r *runtime, in Instance) (Event, error) {
	spec := specOf(in)
	features := s.info(r).Features
	if slices.Contains(features, drivers.FeatureLimitPIDs) {
		spec.Resources.PIDs = maxPIDs
	}
	if slices.Contains(features, drivers.FeatureImageFile) && s.cfg.Images != nil {
		path, err := s.cfg.Images.Fetch(ctx, spec.Image, func(p drivers.Progress) { s.show(a, p) })
		if err != nil {
			return Event{}, imageError{err}
		}
		spec.Image.Path = path
	}
	ev, err := s.createWith(ctx, a, r, spec)
	if err != nil {
		s.releaseImage(spec.Image.Path)
		return Event{}, err
	}
	return ev, nil
}

// createWith holds one of the driver's slots, except while an image is pulled: a
// slow registry must not keep others from starting what they have already.
func (s *Supervisor) createWith(ctx context.Context, a *actor, r *runtime, spec drivers.Spec) (Event, error) {
	free, err := r.slot(ctx)
	if err != nil {
		return Event{}, err
	}
	defer free()
	h, err := r.driver.Create(ctx, spec, func(p drivers.Progress) {
		if p.Phase == "pulling" {
			free()
		}
		s.show(a, p)
	})
	if err != nil {
		return Event{}, err
	}
	return Event{Kind: EventCreated, Handle: &h, Image: spec.Image.Path}, nil
}

// imageError is trouble with an image, whatever else it is.
type imageError struct{ error }

func (e imageError) Unwrap() []error { return []error{drivers.ErrImage, e.error} }

func (s *Supervisor) releaseImage(path string) {
	if path != "" && s.cfg.Images != nil {
		s.cfg.Images.Release(path)
	}
}

func (s *Supervisor) startWorkload(ctx context.Context, r *runtime, in Instance) (Event, error) {
	free, err := r.slot(ctx)
	if err != nil {
		return Event{}, err
	}
	defer free()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.driver.Start(ctx, *in.Handle); err != nil {
		return Event{}, err
	}
	ev := Event{Kind: EventStarted}
	if len(in.Job.Ports) > 0 {
		// Not knowing the ports is no reason to call the start a failure.
		if st, err := r.driver.Status(ctx, *in.Handle); err == nil {
			ev.Ports = st.Ports
		}
	}
	return ev, nil
}

func (s *Supervisor) inspect(ctx context.Context, r *runtime, in Instance) (Event, error) {
	statusCtx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := r.driver.Status(statusCtx, *in.Handle)
	if err != nil {
		return Event{}, err
	}
	ev := Event{Kind: EventInspected, Status: st}
	if st.Phase == drivers.PhaseExited {
		ev.Tail = tail(ctx, r.driver, in, st.Exit)
	}
	return ev, nil
}

// clear stops and removes the workloads of older generations.
func (s *Supervisor) clear(ctx context.Context, in Instance) (Event, error) {
	for _, l := range in.Leftovers {
		r, ok := s.runtimes[l.Runtime]
		if !ok {
			s.log.Warn("a workload is left behind: this agent has no driver for it", "instance", in.ID, "runtime", l.Runtime)
			continue
		}
		if err := stop(ctx, r.driver, l.Handle, drivers.StopOptions{Signal: l.Signal, Grace: l.Grace}); err != nil {
			return Event{}, err
		}
		if err := remove(ctx, r.driver, l.Handle); err != nil {
			return Event{}, err
		}
	}
	return Event{Kind: EventCleared}, nil
}

func stop(ctx context.Context, d drivers.Driver, h drivers.Handle, o drivers.StopOptions) error {
	ctx, cancel := context.WithTimeout(ctx, o.Grace+stopMargin)
	defer cancel()
	err := d.Stop(ctx, h, o)
	if errors.Is(err, drivers.ErrInvalid) && o.Signal != "" {
		// A signal that the runtime does not know must not keep it running.
		o.Signal = ""
		return d.Stop(ctx, h, o)
	}
	return err
}

func remove(ctx context.Context, d drivers.Driver, h drivers.Handle) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	return d.Remove(ctx, h)
}

// slot waits for one of the driver's slots. The function it returns gives the
// slot back, once.
func (r *runtime) slot(ctx context.Context) (free func(), err error) {
	select {
	case r.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-r.slots }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// showEvery bounds how often progress is reported.
const showEvery = 500 * time.Millisecond

func (s *Supervisor) show(a *actor, p drivers.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if a.progress != nil && a.progress.Phase == p.Phase && now.Sub(a.shownAt) < showEvery {
		return
	}
	a.progress, a.shownAt = &p, now
	if !a.held {
		s.news(a.in.ID)
	}
}

func specOf(in Instance) drivers.Spec {
	j := in.Job
	sp := drivers.Spec{
		ID: in.ID, Generation: in.Generation, Name: j.Name,
		Image:   drivers.Image{Reference: j.Image, SHA256: j.SHA256, Arch: j.Arch},
		Command: j.Command, Args: j.Args, Env: maps.Clone(j.Env), Workdir: j.Workdir, User: j.User,
		Resources: drivers.Resources{CPUMillis: j.Requirements.CPUMillis(), MemoryBytes: j.Requirements.MemoryBytes()},
		Labels:    map[string]string{"edgeio.job": in.JobID, "edgeio.job-name": j.Name},
	}
	sp.Devices = in.Devices
	for _, p := range j.Ports {
		sp.Ports = append(sp.Ports, specPort(p))
	}
	return sp
}

func specPort(p job.Port) drivers.Port {
	return drivers.Port{Name: p.Name, Protocol: protocol(p.Protocol), Port: p.Port, HostPort: p.HostPort}
}

// tail returns the last lines that a workload wrote before it ended badly.
func tail(ctx context.Context, d drivers.Driver, in Instance, exit drivers.Exit) string {
	if exit.Code == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	var out []byte
	// What could be read is shown; that some could not is no news here.
	_ = d.Logs(ctx, *in.Handle, drivers.LogOptions{Tail: tailLines}, func(e drivers.LogEntry) error {
		out = append(out, e.Data...)
		if n := len(out) - tailBytes; n > 0 {
			out = out[n:]
		}
		return nil
	})
	return strings.ToValidUTF8(string(bytes.TrimSpace(out)), "\uFFFD")
}
