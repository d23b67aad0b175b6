package process

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// The drivers that use this package pass the conformance suite; here is what
// can be seen from inside only.

func newKeeper(t testing.TB, dir, shimPath string) *Keeper {
	t.Helper()
	k, err := New(Config{
		Name: "test", HandleVersion: 1, Dir: dir, ShimPath: shimPath, CgroupParent: fmt.Sprintf("edgeio-test-process-%d", os.Getpid()),
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// buildShim returns the path of an edgeshim.
func buildShim(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgeshim")
	build := exec.Command("go", "build", "-o", path, "../../cmd/edgeshim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build edgeshim: %v\n%s", err, out)
	}
	return path
}

// sleep plans a process that waits.
func sleep(_ *Workload, l *shim.Launch) (Plan, error) {
	l.Path, l.Argv = "/bin/sleep", []string{"sleep", "1000"}
	return Plan{Launch: l}, nil
}

// TestShimStopped: an edgeshim that does nothing any more.
func TestShimStopped(t *testing.T) {
	d := newKeeper(t, t.TempDir(), buildShim(t))
	h, err := d.Create(t.Context(), drivers.Spec{ID: "stopped", Generation: 1}, sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	w, err := d.Open("stop", h)
	if err != nil {
		t.Fatal(err)
	}
	st, err := w.State()
	if err != nil {
		t.Fatal(err)
	}
	run := st.Run
	if err := syscall.Kill(run.Shim.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); moves(run.Shim.PID); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("edgeshim goes on")
		}
	}
	w, err = d.Open("stop", h)
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := w.tell(t.Context(), "kill", 100*time.Millisecond); ended || err != nil {
		t.Errorf("tell: %v, %v; want that it does not end", ended, err)
	}
	if err := w.force(t.Context()); err != nil {
		t.Errorf("force: %v", err)
	}
	if run.Main.Alive() {
		t.Error("the workload goes on")
	}
	if err := d.Remove(t.Context(), h); err != nil {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, prefixNew+"1"), filepath.Join(dir, prefixGone+"2")
	for _, d := range []string{old, young} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	newKeeper(t, dir, "")
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an old half-made folder stays: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("one that another agent may be at work on is gone: %v", err)
	}
}

func TestParseFolder(t *testing.T) {
	for name, ok := range map[string]bool{"a-b-3": true, "a-0": true, ".new-1": false, "a": false, "-1": false, "A-1": false, "a-b": false} {
		id, generation, got := parseFolder(name)
		if got != ok || ok && folder(id, generation) != name {
			t.Errorf("%s: %+v, %v", name, id, got)
		}
	}
}

// TestZombieLeader: the first thread of a tender may end alone, and leave
// others that do not mind SIGTERM. Then it looks dead, and cannot be waited for.
func TestZombieLeader(t *testing.T) {
	python, err := exec.LookPath("python3")
	drivertest.Require(t, "python3", err == nil, "python3 is not installed")
	k := newKeeper(t, t.TempDir(), buildShim(t))
	const script = `import ctypes, os, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall(ctypes.c_long(%d), ctypes.c_long(0))`
	h, err := k.Create(t.Context(), drivers.Spec{ID: "zombie", Generation: 1}, func(_ *Workload, l *shim.Launch) (Plan, error) {
		l.Path, l.Argv = python, []string{"python3", "-c", fmt.Sprintf(script, syscall.SYS_EXIT)}
		return Plan{Launch: l}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st, err := k.Status(t.Context(), h)
		if err != nil || st.Phase != drivers.PhaseRunning || time.Now().After(deadline) {
			t.Fatalf("Status: %+v, %v; want it running, its leader dead", st, err)
		}
		if s, err := shim.ReadStat(st.PID); err == nil && s.Dead() {
			break
		}
	}
	if err := k.Stop(t.Context(), h, drivers.StopOptions{Grace: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	// What its leader has ended with is what the kernel tells, not the signal.
	if st, err := k.Status(t.Context(), h); err != nil || st.Phase != drivers.PhaseExited {
		t.Errorf("Status: %+v, %v; want it ended", st, err)
	}
	if err := k.Remove(t.Context(), h); err != nil {
		t.Error(err)
	}
}

// moves reports whether a thread of the process is not stopped; they stop one
// after the other.
func moves(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(stats, func(stat string) bool {
		text, _ := os.ReadFile(stat)
		_, after, _ := strings.Cut(string(text), ") ")
		return !strings.HasPrefix(after, "T")
	})
}
