package process

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

// State is what the folder says about a workload.
type State struct {
	Phase drivers.Phase
	Run   *shim.Run  // nil in PhaseCreated
	Exit  *shim.Exit // of Run; nil unless PhaseExited
}

// State reads the folder. A run whose edgeshim is gone without a word is lost:
// what is left of it is ended and that is written down.
func (w *Workload) State() (State, error) {
	st, settled, err := w.look()
	if err != nil || settled {
		return st, err
	}
	defer w.k.locks.lock(w.Key)()
	return w.settle()
}

// settle is state for those who hold the lock.
func (w *Workload) settle() (State, error) {
	st, settled, err := w.look()
	if err != nil || settled {
		return st, err
	}
	reason := "its edgeshim was killed"
	switch {
	case st.Run.BootID == "":
		reason = "the record of its run is damaged"
	case st.Run.BootID != w.k.boot:
		reason = "the node was restarted"
	}
	if l, err := w.Launch(); err == nil {
		if err := l.Cgroup.Kill(); err != nil {
			return State{}, w.Errorf(drivers.ErrUnavailable, "%w", err)
		}
		_ = l.Cgroup.Remove()
	}
	if st.Run.BootID == w.k.boot {
		w.killStrays(st.Run)
	}
	st.Phase = drivers.PhaseExited
	st.Exit = &shim.Exit{Number: st.Run.Number, Code: -1, Lost: true, Reason: reason, At: time.Now()}
	if err := shim.WriteFile(w.Dir, shim.FileExit, st.Exit.Append(nil), true); err != nil {
		return State{}, w.Fail(err)
	}
	w.k.log.Warn("workload lost", "instance", w.id, "reason", reason)
	return st, nil
}

// killStrays ends what control groups have not found, or there are none.
func (w *Workload) killStrays(run *shim.Run) {
	if run.Main.Alive() {
		_ = syscall.Kill(run.Main.PID, syscall.SIGKILL)
	}
	if w.k.cgroups.Tracks() {
		return
	}
	for _, pid := range shim.Marked(w.UniqueName()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// look reads the folder; settled is false if the run was lost and nobody has
// written that down yet.
func (w *Workload) look() (st State, settled bool, err error) {
	if st, err = w.read(); err != nil || st.Phase != drivers.PhaseRunning {
		if st.Run != nil {
			reap(st.Run.Shim)
		}
		return st, true, err
	}
	if st.Run.BootID == w.k.boot && st.Run.Shim.Alive() {
		return st, true, nil
	}
	// It may have ended, and even been started again, since the read.
	again, err := w.read()
	if err != nil || again.Phase != drivers.PhaseRunning || *again.Run != *st.Run {
		reap(st.Run.Shim)
		return again, true, err
	}
	reap(st.Run.Shim)
	return st, false, nil
}

// read takes FileRun's word that a run without FileExit still runs.
func (w *Workload) read() (State, error) {
	b, err := os.ReadFile(filepath.Join(w.Dir, shim.FileRun))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(w.Dir); err != nil {
			return State{}, w.Errorf(drivers.ErrNotFound, "no such workload")
		}
		return State{Phase: drivers.PhaseCreated}, nil
	}
	if err != nil {
		return State{}, w.Fail(err)
	}
	run, err := shim.ParseRun(b)
	if err != nil { // power was lost just then
		run = &shim.Run{}
	}
	st := State{Phase: drivers.PhaseRunning, Run: run}
	b, err = os.ReadFile(filepath.Join(w.Dir, shim.FileExit))
	if err != nil {
		return st, nil
	}
	if exit, err := shim.ParseExit(b); err == nil && exit.Number == run.Number {
		st.Phase, st.Exit = drivers.PhaseExited, exit
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
func (w *Workload) dial(ctx context.Context) (net.Conn, error) {
	fd, err := unix.Open(w.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd)+"/"+shim.FileSocket)
}
