package native

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Start implements drivers.Driver.
func (d *Driver) Start(ctx context.Context, h drivers.Handle) error {
	w, err := d.open("start", h)
	if err != nil {
		return err
	}
	defer d.locks.lock(w.key)()
	if err := ctx.Err(); err != nil {
		return w.errorf(drivers.ErrUnavailable, "%w", err)
	}
	lock, st, err := w.claim(ctx, w.settle)
	if lock == nil {
		return err
	}
	defer lock.Close()
	l, err := w.launch()
	if err != nil {
		return err
	}
	number := 1
	if st.run != nil {
		number = st.run.Number + 1
		if err := w.awaitEnd(ctx, st.run); err != nil {
			return err
		}
	}
	// After a reboot the machine may offer other control groups than before.
	if g := d.cgroups.Group(w.uniqueName()); !reflect.DeepEqual(g, l.Cgroup) {
		l.Cgroup = g
		if err := shim.WriteFile(w.dir, shim.FileLaunch, l.Append(nil), true); err != nil {
			return w.fail(err)
		}
	}
	if err := l.Cgroup.Create(l.Limits); err != nil {
		return w.fail(err)
	}
	err = w.spawn(ctx, l, number, lock)
	if err != nil && ctx.Err() == nil {
		_ = l.Cgroup.Remove()
		d.cgroups.Cleanup()
	}
	return err
}

// awaitEnd waits until an edgeshim that has noted the end is gone itself.
func (w *workload) awaitEnd(ctx context.Context, run *shim.Run) error {
	if run.BootID != w.boot {
		return nil // whatever has that number now is none of ours
	}
	p := run.Shim
	for pause := 200 * time.Microsecond; p.Alive(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return w.errorf(drivers.ErrUnavailable, "%w", ctx.Err())
		}
	}
	reap(p)
	return nil
}

// spawn starts edgeshim and waits for its word. If the context ends first,
// the start may or may not come about; calling Start again finds out.
func (w *workload) spawn(ctx context.Context, l *shim.Launch, number int, lock *os.File) error {
	ackRead, ackWrite, err := os.Pipe()
	if err != nil {
		return w.fail(err)
	}
	defer ackRead.Close()
	pid, err := w.forkShim(ackWrite, lock, number)
	ackWrite.Close()
	if err != nil {
		return w.errorf(drivers.ErrUnavailable, "edgeshim %s: %w; reinstall edgeIO or set the path of edgeshim", w.cfg.ShimPath, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = ackRead.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := io.ReadAll(io.LimitReader(ackRead, 64<<10))
	if err != nil && ctx.Err() != nil {
		return w.errorf(drivers.ErrUnavailable, "%w", ctx.Err())
	}
	line := strings.TrimSuffix(string(answer), "\n")
	if line == "ok" {
		return nil
	}
	// It is about to end, or has.
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return w.startAnswer(l, line)
}

func (w *workload) startAnswer(l *shim.Launch, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	number, what, _ := strings.Cut(rest, " ")
	errno, err := strconv.Atoi(number)
	if word != "errno" || err != nil {
		return w.errorf(drivers.ErrUnavailable, "edgeshim ended without a word; see %s", filepath.Join(w.dir, shim.FileErrors))
	}
	return w.startFailure(l, what, syscall.Errno(errno))
}

// forkShim starts edgeshim so that nothing that happens to this process or
// its session ends it. It does not use os/exec: nobody waits for it here, see reap.
func (w *workload) forkShim(ack, lock *os.File, number int) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	errs, err := os.OpenFile(filepath.Join(w.dir, shim.FileErrors), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer errs.Close()
	ackFD, err := dupFD(ack)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(ackFD)
	lockFD, err := dupFD(lock)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(lockFD)
	pid, err := syscall.ForkExec(w.cfg.ShimPath, []string{"edgeshim", "run", w.dir, strconv.Itoa(number)}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: []uintptr{null.Fd(), null.Fd(), errs.Fd(), uintptr(ackFD), uintptr(lockFD)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	return pid, err
}

// dupFD returns a descriptor of f's file that may block, with f left as it is.
func dupFD(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, err = syscall.Dup(int(old)); err == nil {
			syscall.CloseOnExec(fd)
		}
	})
	return fd, errors.Join(cerr, err)
}
