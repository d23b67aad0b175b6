package workload

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// Bounds of looking after runtimes.
const (
	probeTimeout = 5 * time.Second
	listTimeout  = 30 * time.Second
	orphanGrace  = 10 * time.Second
)

func (s *Supervisor) info(r *runtime) drivers.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.info
}

// Probed returns once all drivers have said for the first time after Run began
// whether they are usable, or the context ends.
func (s *Supervisor) Probed(ctx context.Context) {
	for _, r := range s.runtimes {
		select {
		case <-r.probed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Supervisor) probe(ctx context.Context, name string, r *runtime) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	info := r.driver.Probe(ctx)
	info.Name = name
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(info, r.info) {
		return
	}
	if info.Usable != r.info.Usable {
		s.log.Info("runtime", "runtime", name, "usable", info.Usable, "version", info.Version, "reason", info.Reason)
	}
	r.info = info
	signal(s.offerC)
}

// watchRuntime keeps the driver's Info up to date, as far as the driver
// notices by itself that it may have changed.
func (s *Supervisor) watchRuntime(ctx context.Context, name string, r *runtime) {
	w, ok := r.driver.(drivers.Watcher)
	if !ok {
		return
	}
	for tries := 0; ctx.Err() == nil; tries++ {
		err := w.Watch(ctx, func() {
			tries = 0
			s.probe(ctx, name, r)
			s.wake(name, r)
		})
		if ctx.Err() != nil {
			return
		}
		s.log.Debug("watch ended", "runtime", name, "error", err)
		pause(ctx, nil, min(retryBase<<min(tries, 8), retryLimit))
		s.probe(ctx, name, r)
		s.wake(name, r)
	}
}

// wake has everything tried again at once that waits for the runtime.
func (s *Supervisor) wake(name string, r *runtime) {
	signal(r.woken)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.actors {
		if a.in.Job.Runtime == name && a.in.RetryIn > 0 {
			signal(a.kick)
		}
	}
}

func pause(ctx context.Context, woken <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-woken:
	}
}

// recover finds what the runtime holds from an earlier life of the agent, gives
// it to the instances it belongs to and lets those begin; what belongs to none
// is stopped and removed.
func (s *Supervisor) recover(ctx context.Context, name string, r *runtime) {
	s.probe(ctx, name, r)
	close(r.probed)
	handles, ok := s.list(ctx, name, r)
	if !ok {
		return
	}
	byID := map[string][]drivers.Handle{}
	for _, h := range handles {
		byID[h.ID] = append(byID[h.ID], h)
	}

	var start []*actor
	var orphans []drivers.Handle
	s.mu.Lock()
	for id, a := range s.actors {
		if a.in.Job.Runtime != name {
			continue
		}
		s.holdImage(a.in)
		ev := Event{Kind: EventRecover}
		for _, h := range byID[id] {
			if h.Generation == a.in.Generation {
				ev.Handle = &h
			} else {
				ev.Others = append(ev.Others, h)
			}
		}
		a.in = Step(a.in, ev, Env{Now: time.Now(), BootID: s.cfg.BootID})
	}
	for _, h := range handles {
		if !s.wanted(name, h) {
			orphans = append(orphans, h)
		}
	}
	r.recovered = true
	for _, a := range s.actors {
		if a.in.Job.Runtime == name && s.claim(a) {
			start = append(start, a)
		}
	}
	s.mu.Unlock()
	s.log.Info("runtime recovered", "runtime", name, "workloads", len(handles), "instances", len(start), "orphans", len(orphans))
	s.start(start)
	for _, h := range orphans {
		s.removeOrphan(ctx, r, h)
	}
}

// holdImage holds again what the instance had held before the agent was
// started. The caller holds mu; nothing is fetched by that.
func (s *Supervisor) holdImage(in Instance) {
	if s.cfg.Images == nil {
		return
	}
	for _, path := range in.images() {
		// One that is not in the cache needs no holding.
		if _, err := s.cfg.Images.Acquire(path); err != nil {
			s.log.Warn("the image of an instance cannot be kept in the cache", "instance", in.ID, "path", path, "error", err)
		}
	}
}

func (s *Supervisor) list(ctx context.Context, name string, r *runtime) ([]drivers.Handle, bool) {
	for tries := 0; ctx.Err() == nil; tries++ {
		listCtx, cancel := context.WithTimeout(ctx, listTimeout)
		handles, err := r.driver.List(listCtx)
		cancel()
		if err == nil {
			return handles, true
		}
		if errors.Is(err, drivers.ErrUnsupported) {
			return nil, true
		}
		s.log.Debug("runtime cannot be listed", "runtime", name, "error", err)
		pause(ctx, r.woken, min(retryBase<<min(tries, 8), retryLimit))
	}
	return nil, false
}

// wanted reports whether a workload belongs to an instance. The caller holds mu.
func (s *Supervisor) wanted(runtime string, h drivers.Handle) bool {
	a, ok := s.actors[h.ID]
	if !ok {
		return false
	}
	if a.in.Job.Runtime == runtime && a.in.Generation == h.Generation {
		return true
	}
	for _, l := range a.in.Leftovers {
		if l.Runtime == runtime && l.Handle.Generation == h.Generation {
			return true
		}
	}
	return false
}

func (s *Supervisor) removeOrphan(ctx context.Context, r *runtime, h drivers.Handle) {
	s.log.Warn("stopping a workload that nobody knows", "instance", h.ID, "generation", h.Generation, "runtime", h.Driver)
	for tries := 0; ctx.Err() == nil; tries++ {
		err := stop(ctx, r.driver, h, drivers.StopOptions{Grace: orphanGrace})
		if err == nil {
			err = remove(ctx, r.driver, h)
		}
		if err == nil || errors.Is(err, drivers.ErrInvalid) {
			return
		}
		s.log.Debug("orphan not removed", "instance", h.ID, "error", err)
		pause(ctx, r.woken, min(retryBase<<min(tries, 8), retryLimit))
	}
}
