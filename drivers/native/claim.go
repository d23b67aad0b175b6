package native

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// claim takes the lock of a workload that does not run. An edgeshim inherits it
// and holds it as long as it lives, so that nothing is done to a workload whose
// edgeshim is just starting, or ending, whoever started that: an agent may be
// killed between the start of an edgeshim and FileRun.
//
// The lock is nil, and the error may be, if the workload runs, or has run while
// it was waited for. look is state or settle.
func (w *workload) claim(ctx context.Context, look func() (state, error)) (*os.File, state, error) {
	before, err := look()
	for pause := 200 * time.Microsecond; err == nil && before.phase != drivers.PhaseRunning; pause = min(2*pause, 50*time.Millisecond) {
		lock, err := w.tryLock()
		if err != nil {
			return nil, before, err
		}
		st, err := look()
		if err == nil && lock != nil && st.sameRun(before) {
			return lock, st, nil
		}
		if lock != nil {
			lock.Close()
		}
		if err != nil || !st.sameRun(before) {
			return nil, st, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, st, w.errorf(drivers.ErrUnavailable, "its edgeshim is starting or ending: %w", ctx.Err())
		}
	}
	return nil, before, err
}

// sameRun reports whether no run has begun between two looks.
func (s state) sameRun(before state) bool {
	if s.run == nil || before.run == nil {
		return s.run == before.run
	}
	return s.run.Number == before.run.Number
}

// tryLock returns the workload's folder, locked; nil if somebody else has the
// lock. The folder and not a file in it, as files are replaced.
func (w *workload) tryLock() (*os.File, error) {
	f, err := os.Open(w.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, w.errorf(drivers.ErrNotFound, "no such workload")
	}
	if err != nil {
		return nil, w.fail(err)
	}
	raw, err := f.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
		err = errors.Join(err, cerr)
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, w.fail(err)
}
