package workload

import (
	"context"
	"errors"
	"time"
)

var errStopping = errors.New("the agent is stopping")

// journal writes instances to the store behind the steps that change them: all
// that changed while one transaction was on its way to the disk goes with the
// next one. What the parent is told is on disk before it is told.
type journal struct {
	s    *Supervisor
	wake chan struct{}
	done chan struct{} // closed when run has ended

	// Guarded by Supervisor.mu.
	dirty   map[string]struct{}
	waiters []chan<- error
}

func newJournal(s *Supervisor) *journal {
	return &journal{s: s, wake: make(chan struct{}, 1), done: make(chan struct{}), dirty: map[string]struct{}{}}
}

// storeRetry is the pause after a write that did not succeed.
const storeRetry = time.Second

// mark has an instance written, or deleted if it is not there any more. The
// caller holds mu.
func (j *journal) mark(id string) {
	j.dirty[id] = struct{}{}
	signal(j.wake)
}

// note has an instance written with the next write. The caller holds mu.
func (j *journal) note(id string) { j.dirty[id] = struct{}{} }

// sync returns once all that was marked before is on disk.
func (j *journal) sync(ctx context.Context) error {
	done := make(chan error, 1)
	j.s.mu.Lock()
	j.waiters = append(j.waiters, done)
	j.s.mu.Unlock()
	signal(j.wake)
	select {
	case err := <-done:
		return err
	case <-j.done:
		return errStopping
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run writes until the context ends, and once more then.
func (j *journal) run(ctx context.Context) {
	defer close(j.done)
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-j.wake:
		}
		if err := j.write(); err != nil {
			j.s.log.Error("the store cannot be written; trying again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(storeRetry):
			}
			signal(j.wake)
		}
	}
}

func (j *journal) write() error {
	s := j.s
	s.mu.Lock()
	ids, waiters := j.dirty, j.waiters
	j.dirty, j.waiters = map[string]struct{}{}, nil
	var put []Instance
	var del []string
	for id := range ids {
		if a, ok := s.actors[id]; ok {
			put = append(put, a.in)
		} else {
			del = append(del, id)
		}
	}
	s.mu.Unlock()

	var err error
	if len(ids) > 0 {
		err = s.cfg.Store.Save(put, del)
	}

	s.mu.Lock()
	if err != nil {
		for id := range ids {
			j.dirty[id] = struct{}{}
		}
	}
	// Also after a failed write: a node whose disk is full still reports.
	for i := range put {
		if a := s.actors[put[i].ID]; a != nil && a.due && !a.held {
			a.due = false
			s.news(a.in.ID)
		}
	}
	s.mu.Unlock()
	for _, w := range waiters {
		w <- err
	}
	return err
}
