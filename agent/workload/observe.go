package workload

import (
	"context"
	"fmt"

	"github.com/edgeio/edgeio/drivers"
)

// Logs passes the output of an instance on, also of one that has ended. With
// Follow it waits for an instance that has no workload yet, and returns nil
// once the instance has ended for good or is removed. ErrNotFound if the node
// does not have it.
func (s *Supervisor) Logs(ctx context.Context, id string, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	d, h, err := s.workload(ctx, id, o.Follow)
	if err != nil || d == nil {
		return err
	}
	if o.Follow {
		return s.follow(ctx, id, d, h, o, sink)
	}
	return d.Logs(ctx, h, o, sink)
}

// Exec runs a further command in an instance.
func (s *Supervisor) Exec(ctx context.Context, id string, o drivers.ExecOptions) (exitCode int, err error) {
	d, h, err := s.workload(ctx, id, false)
	if err != nil {
		return 0, err
	}
	e, ok := d.(drivers.Execer)
	if d == nil {
		return 0, drivers.Errorf(drivers.ErrConflict, "exec", id, "the instance does not run yet")
	}
	if !ok {
		return 0, drivers.Errorf(drivers.ErrUnsupported, "exec", id, "the runtime %s has no way to run a command in a workload", h.Driver)
	}
	return e.Exec(ctx, h, o)
}

// workload returns the workload of an instance, or a nil driver if there is
// none; with wait it waits for one as long as there may be one.
func (s *Supervisor) workload(ctx context.Context, id string, wait bool) (drivers.Driver, drivers.Handle, error) {
	for {
		s.mu.Lock()
		a, err := s.lookup(id)
		if err != nil {
			s.mu.Unlock()
			return nil, drivers.Handle{}, err
		}
		in, r := a.in, s.runtimes[a.in.Job.Runtime]
		changed := a.next()
		s.mu.Unlock()

		if in.Handle != nil {
			if r == nil {
				return nil, drivers.Handle{}, fmt.Errorf("instance %s: this agent has no runtime %s any more: %w", id, in.Job.Runtime, drivers.ErrUnsupported)
			}
			return r.driver, *in.Handle, nil
		}
		if !wait || !in.Active() || in.Removed {
			return nil, drivers.Handle{}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, drivers.Handle{}, context.Cause(ctx)
		}
	}
}

// next is closed at the instance's next step. The caller holds the supervisor's
// lock.
func (a *actor) next() <-chan struct{} {
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}
