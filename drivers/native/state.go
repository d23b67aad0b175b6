package native

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/shim"
	"golang.org/x/sys/unix"
)

// state is what the folder says about a workload.
type state struct {
	phase drivers.Phase
	run   *shim.Run  // nil in PhaseCreated
	exit  *shim.Exit // of run; nil unless PhaseExited
}

// state reads the folder. A run whose edgeshim is gone without a word is lost:
// what is left of it is ended and that is written down.
func (w *workload) state() (state, error) {
	st, settled, err := w.look()
	if err != nil || settled {
		return st, err
	}
	defer w.locks.lock(w.key)()
	return w.settle()
}

// settle is state for those who hold the lock.
func (w *workload) settle() (state, error) {
	st, settled, err := w.look()
	if err != nil || settled {
		return st, err
	}
	reason := "its edgeshim was killed"
	switch {
	case st.run.BootID == "":
		reason = "the record of its run is damaged"
	case st.run.BootID != w.boot:
		reason = "the node was restarted"
	}
	if l, err := w.launch(); err == nil {
		if err := l.Cgroup.Kill(); err != nil {
			return state{}, w.errorf(drivers.ErrUnavailable, "%w", err)
		}
		_ = l.Cgroup.Remove()
	}
	if st.run.BootID == w.boot {
		w.killStrays(st.run)
	}
	st.phase = drivers.PhaseExited
	st.exit = &shim.Exit{Number: st.run.Number, Code: -1, Lost: true, Reason: reason, At: time.Now()}
	if err := shim.WriteFile(w.dir, shim.FileExit, st.exit.Append(nil), true); err != nil {
		return state{}, w.fail(err)
	}
	w.log.Warn("workload lost", "instance", w.id, "reason", reason)
	return st, nil
}

// killStrays ends what control groups have not found, or there are none.
func (w *workload) killStrays(run *shim.Run) {
	if run.Main.Alive() {
		_ = syscall.Kill(run.Main.PID, syscall.SIGKILL)
	}
	if w.cgroups.Tracks() {
		return
	}
	for _, pid := range shim.Marked(w.uniqueName()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// look reads the folder; settled is false if the run was lost and nobody has
// written that down yet.
func (w *workload) look() (st state, settled bool, err error) {
	if st, err = w.read(); err != nil || st.phase != drivers.PhaseRunning {
		if st.run != nil {
			reap(st.run.Shim)
		}
		return st, true, err
	}
	if st.run.BootID == w.boot && st.run.Shim.Alive() {
		return st, true, nil
	}
	// It may have ended, and even been started again, since the read.
	again, err := w.read()
	if err != nil || again.phase != drivers.PhaseRunning || *again.run != *st.run {
		reap(st.run.Shim)
		return again, true, err
	}
	reap(st.run.Shim)
	return st, false, nil
}

// read takes FileRun's word that a run without FileExit still runs.
func (w *workload) read() (state, error) {
	b, err := os.ReadFile(filepath.Join(w.dir, shim.FileRun))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(w.dir); err != nil {
			return state{}, w.errorf(drivers.ErrNotFound, "no such workload")
		}
		return state{phase: drivers.PhaseCreated}, nil
	}
	if err != nil {
		return state{}, w.fail(err)
	}
	run, err := shim.ParseRun(b)
	if err != nil { // power was lost just then
		run = &shim.Run{}
	}
	st := state{phase: drivers.PhaseRunning, run: run}
	b, err = os.ReadFile(filepath.Join(w.dir, shim.FileExit))
	if err != nil {
		return st, nil
	}
	if exit, err := shim.ParseExit(b); err == nil && exit.Number == run.Number {
		st.phase, st.exit = drivers.PhaseExited, exit
	}
	return st, nil
}

// reap takes away the edgeshim that has ended, if it is a child of this
// process. There is no goroutine per workload that waits for that.
func reap(p shim.Process) {
	s, err := shim.ReadStat(p.PID)
	if err == nil && s.Start == p.Start && s.Dead() && s.Parent == os.Getpid() {
		_, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil)
	}
}

// dial connects to the workload's edgeshim. The folder is addressed by a file
// descriptor, since the address of a socket holds only some 100 bytes.
func (w *workload) dial(ctx context.Context) (net.Conn, error) {
	fd, err := unix.Open(w.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd)+"/"+shim.FileSocket)
}
