package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"golang.org/x/sys/unix"
)

// killPatience is how long edgeshim may take to end the workload before the
// driver does it over its head.
const killPatience = 15 * time.Second

// Stop implements drivers.Driver.
func (k *Keeper) Stop(ctx context.Context, h drivers.Handle, o drivers.StopOptions) error {
	w, err := k.Open("stop", h)
	if err != nil {
		return err
	}
	if o.Signal == "" {
		o.Signal = "SIGTERM"
	}
	number := unix.SignalNum(o.Signal)
	if number == 0 {
		return w.Errorf(drivers.ErrInvalid, "unknown signal %q", o.Signal)
	}
	if o.Grace > 0 {
		ended, err := w.tell(ctx, fmt.Sprintf("signal %d", number), o.Grace)
		if ended || err != nil {
			return err
		}
	}
	ended, err := w.tell(ctx, "kill", killPatience)
	if ended || err != nil {
		return err
	}
	return w.force(ctx)
}

// tell sends a request to edgeshim and waits for the end of the workload, but
// not longer than patience.
func (w *Workload) tell(ctx context.Context, request string, patience time.Duration) (ended bool, err error) {
	lock, st, err := w.claim(ctx, w.State)
	if lock != nil {
		lock.Close()
	}
	if errors.Is(err, drivers.ErrNotFound) {
		return true, nil
	}
	if err != nil || st.Phase != drivers.PhaseRunning {
		return err == nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A failure shows in the state of the workload: it has ended or it has not.
	_ = w.send(waiting, request)
	_, err = w.WaitRun(waiting)
	switch {
	case err == nil, errors.Is(err, drivers.ErrNotFound):
		return true, nil
	case ctx.Err() != nil:
		return false, w.Errorf(drivers.ErrUnavailable, "%w", ctx.Err())
	case waiting.Err() != nil:
		return false, nil
	}
	return false, err
}

// send sends one request to edgeshim and reads the answer.
func (w *Workload) send(ctx context.Context, request string) error {
	c, err := w.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer expire(ctx, c)()
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}

// expire makes c's calls fail once ctx ends, until the returned func is called.
func expire(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// force ends a workload whose edgeshim does not do it (stopped, or hanging).
func (w *Workload) force(ctx context.Context) error {
	st, err := w.State()
	if err != nil || st.Phase != drivers.PhaseRunning {
		return err
	}
	// The first process dies with it; settle ends the rest.
	_ = syscall.Kill(st.Run.Shim.PID, syscall.SIGKILL)
	if err := w.awaitEnd(ctx, st.Run); err != nil {
		return err
	}
	_, err = w.State()
	return err
}

// Remove implements drivers.Driver.
func (k *Keeper) Remove(ctx context.Context, h drivers.Handle) error {
	w, err := k.Open("remove", h)
	if err != nil {
		return err
	}
	defer k.locks.lock(w.Key)()
	lock, st, err := w.claim(ctx, w.settle)
	if errors.Is(err, drivers.ErrNotFound) {
		return nil
	}
	if lock != nil {
		defer lock.Close()
	}
	if err != nil {
		return err
	}
	if st.Phase == drivers.PhaseRunning {
		return w.Errorf(drivers.ErrConflict, "it is running; stop it first")
	}
	if st.Run != nil {
		if err := w.awaitEnd(ctx, st.Run); err != nil {
			return err
		}
	}
	group := k.cgroups.Group(w.UniqueName())
	if group.Exists() {
		if err := group.Kill(); err != nil {
			return w.Errorf(drivers.ErrUnavailable, "%w", err)
		}
		if err := group.Remove(); err != nil {
			return w.Fail(err)
		}
	}
	k.cgroups.Cleanup()
	// Gone at once for everybody else, then piece by piece.
	gone, err := os.MkdirTemp(k.cfg.Dir, prefixGone)
	if err != nil {
		return w.Fail(err)
	}
	if err := os.Rename(w.Dir, filepath.Join(gone, w.Key)); err != nil {
		return w.Fail(err)
	}
	if err := removeTree(gone); err != nil {
		return w.Fail(err)
	}
	return nil
}
