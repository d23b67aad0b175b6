package workload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// errEnded is the cause with which following stops once there is nothing to
// come.
var errEnded = errors.New("the instance has ended")

// follow passes output on until the instance has ended for good or its
// workload is removed. A driver goes on until the latter, as a workload may be
// started again; only here it is known that it will not be.
func (s *Supervisor) follow(ctx context.Context, id string, d drivers.Driver, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	following, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if s.awaitEnd(following, id) {
			cancel(errEnded)
		}
	})
	defer watching.Wait()
	defer cancel(nil)

	var refused error
	at := place{options: o}
	err := d.Logs(following, h, o, func(e drivers.LogEntry) error {
		at.pass(e)
		refused = sink(e)
		return refused
	})
	if refused != nil || !errors.Is(context.Cause(following), errEnded) {
		return err
	}
	// What was written last may not have been read when it was interrupted.
	err = d.Logs(ctx, h, at.rest(), func(e drivers.LogEntry) error {
		if at.passed(e) {
			return nil
		}
		return sink(e)
	})
	if errors.Is(err, drivers.ErrNotFound) { // removed meanwhile
		return nil
	}
	return err
}

// awaitEnd reports whether the instance has ended and keeps its workload;
// false if it is removed or ctx ends before.
func (s *Supervisor) awaitEnd(ctx context.Context, id string) bool {
	for {
		s.mu.Lock()
		a, err := s.lookup(id)
		if err != nil {
			s.mu.Unlock()
			return false
		}
		ended, removed, changed := a.in.Phase == PhaseEnded, a.in.Removed, a.next()
		s.mu.Unlock()
		if ended || removed {
			return ended && !removed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// place is how far output has been passed on: drivers can begin after a time
// only, and several entries may have the same.
type place struct {
	options drivers.LogOptions
	last    time.Time
	count   int // entries passed on that were written at last
	skip    int // of those, entries that are still to be left out
}

func (p *place) pass(e drivers.LogEntry) {
	if !e.Time.Equal(p.last) {
		p.last, p.count = e.Time, 0
	}
	p.count++
}

// rest returns the options with which a driver passes on, without following,
// all that has not been passed on yet, and some that has.
func (p *place) rest() drivers.LogOptions {
	o := p.options
	o.Follow = false
	if p.count > 0 {
		o.Tail, o.Since = -1, p.last.Add(-1)
	}
	p.skip = p.count
	return o
}

// passed reports whether an entry of the rest has been passed on before.
func (p *place) passed(e drivers.LogEntry) bool {
	switch {
	case p.count == 0 || e.Time.After(p.last):
		return false
	case e.Time.Before(p.last):
		return true
	}
	p.skip--
	return p.skip >= 0
}
