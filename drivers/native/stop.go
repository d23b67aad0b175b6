package native

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
func (d *Driver) Stop(ctx context.Context, h drivers.Handle, o drivers.StopOptions) error {
	w, err := d.open("stop", h)
	if err != nil {
		return err
	}
	if o.Signal == "" {
		o.Signal = "SIGTERM"
	}
	number := unix.SignalNum(o.Signal)
	if number == 0 {
		return w.errorf(drivers.ErrInvalid, "unknown signal %q", o.Signal)
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
func (w *workload) tell(ctx context.Context, request string, patience time.Duration) (ended bool, err error) {
	lock, st, err := w.claim(ctx, w.state)
	if lock != nil {
		lock.Close()
	}
	if errors.Is(err, drivers.ErrNotFound) {
		return true, nil
	}
	if err != nil || st.phase != drivers.PhaseRunning {
		return err == nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A failure shows in the state of the workload: it has ended or it has not.
	_ = w.send(waiting, request)
	_, err = w.waitRun(waiting)
	switch {
	case err == nil, errors.Is(err, drivers.ErrNotFound):
		return true, nil
	case ctx.Err() != nil:
		return false, w.errorf(drivers.ErrUnavailable, "%w", ctx.Err())
	case waiting.Err() != nil:
		return false, nil
	}
	return false, err
}

// send sends one request to edgeshim and reads the answer.
func (w *workload) send(ctx context.Context, request string) error {
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
func (w *workload) force(ctx context.Context) error {
	st, err := w.state()
	if err != nil || st.phase != drivers.PhaseRunning {
		return err
	}
	// The first process dies with it; settle ends the rest.
	_ = syscall.Kill(st.run.Shim.PID, syscall.SIGKILL)
	if err := w.awaitEnd(ctx, st.run); err != nil {
		return err
	}
	_, err = w.state()
	return err
}

// Remove implements drivers.Driver.
func (d *Driver) Remove(ctx context.Context, h drivers.Handle) error {
	w, err := d.open("remove", h)
	if err != nil {
		return err
	}
	defer d.locks.lock(w.key)()
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
	if st.phase == drivers.PhaseRunning {
		return w.errorf(drivers.ErrConflict, "it is running; stop it first")
	}
	if st.run != nil {
		if err := w.awaitEnd(ctx, st.run); err != nil {
			return err
		}
	}
	group := d.cgroups.Group(w.uniqueName())
	if group.Exists() {
		if err := group.Kill(); err != nil {
			return w.errorf(drivers.ErrUnavailable, "%w", err)
		}
		if err := group.Remove(); err != nil {
			return w.fail(err)
		}
	}
	d.cgroups.Cleanup()
	// Gone at once for everybody else, then piece by piece.
	gone, err := os.MkdirTemp(d.cfg.Dir, prefixGone)
	if err != nil {
		return w.fail(err)
	}
	if err := os.Rename(w.dir, filepath.Join(gone, w.key)); err != nil {
		return w.fail(err)
	}
	if err := removeTree(gone); err != nil {
		return w.fail(err)
	}
	return nil
}
