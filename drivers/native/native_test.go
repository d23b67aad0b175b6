package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// TestConformanceWithoutCgroups is the suite on a machine that gives none.
func TestConformanceWithoutCgroups(t *testing.T) {
	none := t.TempDir()
	info := newDriver(t, Config{Dir: t.TempDir(), CgroupRoot: none}).Probe(t.Context())
	for _, f := range []drivers.Feature{drivers.FeatureLimitCPU, drivers.FeatureLimitMemory, drivers.FeatureLimitPIDs} {
		if slices.Contains(info.Features, f) {
			t.Errorf("declares %s without control groups", f)
		}
	}
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver {
			return newDriver(t, Config{Dir: filepath.Join(dir, "native"), CgroupRoot: none, DefaultUser: "root"})
		},
		Spec:      spec,
		Features:  info.Features,
		BadImages: badImages,
		Residue:   residue,
	})
}

func TestLimitsWithoutCgroups(t *testing.T) {
	d := newDriver(t, Config{Dir: t.TempDir(), CgroupRoot: t.TempDir()})
	s := sleeper(1)
	_, err := d.Create(t.Context(), s, nil)
	if !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), "run edgeagent as root") {
		t.Errorf("Create: %v, want ErrUnsupported with a remedy", err)
	}
	if left, _ := d.List(t.Context()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// shell is a workload that runs a script.
func shell(id, script string) drivers.Spec {
	return drivers.Spec{ID: id, Generation: 1, Image: drivers.Image{Path: "/bin/sh"}, Args: []string{"-c", script}, User: fmt.Sprint(os.Geteuid())}
}

func start(t *testing.T, d *Driver, spec drivers.Spec) drivers.Handle {
	t.Helper()
	h, err := d.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(d.Stop(ctx, h, drivers.StopOptions{}), d.Remove(ctx, h)); err != nil {
			t.Error(err)
		}
	})
	if err := d.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return h
}

func runOf(t *testing.T, d *Driver, h drivers.Handle) *shim.Run {
	t.Helper()
	w, err := d.open("test", h)
	if err != nil {
		t.Fatal(err)
	}
	st, err := w.state()
	if err != nil || st.run == nil {
		t.Fatalf("state: %+v, %v", st, err)
	}
	return st.run
}

// waitLog waits until the log of h has text.
func waitLog(t *testing.T, d *Driver, h drivers.Handle, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	found := errors.New("found")
	err := d.Logs(ctx, h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
		out.Write(e.Data)
		if strings.Contains(out.String(), text) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Fatalf("no %q in the log: %v, %q", text, err, out.String())
	}
}

// TestShimKilled kills edgeshim: its workload must not go on unwatched, with
// control groups and without.
func TestShimKilled(t *testing.T) {
	for name, root := range map[string]string{"cgroups": "", "no cgroups": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, Config{Dir: t.TempDir(), CgroupRoot: root})
			h := start(t, d, shell("killed", "setsid sh -c 'echo up; sleep 1000; :' & sleep 1000; :"))
			waitLog(t, d, h, "up")
			tree := shim.Descendants(runOf(t, d, h).Shim.PID)
			if len(tree) < 3 {
				t.Fatalf("only %d processes run", len(tree))
			}
			if err := syscall.Kill(runOf(t, d, h).Shim.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			exit, err := d.Wait(t.Context(), h)
			if err != nil || !exit.Lost || exit.Code != -1 || exit.Reason == "" {
				t.Errorf("Wait: %+v, %v; want a lost exit with a reason", exit, err)
			}
			again, err := d.Status(t.Context(), h)
			if err != nil || again.Exit.At.UnixNano() != exit.At.UnixNano() {
				t.Errorf("Status: %+v, %v; want the same exit %+v", again, err, exit)
			}
			deadline := time.Now().Add(10 * time.Second)
			for _, pid := range tree {
				for s, err := shim.ReadStat(pid); err == nil && !s.Dead(); s, err = shim.ReadStat(pid) {
					if time.Now().After(deadline) {
						t.Fatalf("process %d goes on without edgeshim", pid)
					}
					time.Sleep(time.Millisecond)
				}
			}
			if err := d.Start(t.Context(), h); err != nil {
				t.Errorf("Start after that: %v", err)
			}
			waitLog(t, d, h, "up\nup\n")
		})
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

// TestShimStopped: an edgeshim that does nothing any more.
func TestShimStopped(t *testing.T) {
	d := newDriver(t, Config{Dir: t.TempDir()})
	h := start(t, d, shell("stopped", "sleep 1000"))
	run := runOf(t, d, h)
	if err := syscall.Kill(run.Shim.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); moves(run.Shim.PID); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("edgeshim goes on")
		}
	}
	w, err := d.open("stop", h)
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
}

// TestShimIgnoresSignals: what a terminal or a shutdown sends to all.
func TestShimIgnoresSignals(t *testing.T) {
	d := newDriver(t, Config{Dir: t.TempDir()})
	h := start(t, d, shell("signals", "echo up; sleep 0.3; exit 4"))
	waitLog(t, d, h, "up")
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGPIPE} {
		if err := syscall.Kill(runOf(t, d, h).Shim.PID, s); err != nil {
			t.Fatal(err)
		}
	}
	if exit, err := d.Wait(t.Context(), h); err != nil || exit.Code != 4 {
		t.Errorf("Wait: %+v, %v; want code 4", exit, err)
	}
}

// TestReboot changes the boot: process numbers mean nothing any more.
func TestReboot(t *testing.T) {
	dir := t.TempDir()
	d := newDriver(t, Config{Dir: dir})
	h := start(t, d, shell("reboot", "echo up; sleep 1000"))
	waitLog(t, d, h, "up")
	run := *runOf(t, d, h)
	// A machine that has restarted: the processes of before are gone, and
	// this test stands for another one that has their numbers now.
	if err := syscall.Kill(run.Shim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	run.BootID = "another boot"
	run.Shim = shim.Process{PID: os.Getpid(), Start: ownStart(t)}
	run.Main = run.Shim
	if err := shim.WriteFile(filepath.Join(dir, "reboot-1"), shim.FileRun, run.Append(nil), false); err != nil {
		t.Fatal(err)
	}
	st, err := d.Status(t.Context(), h)
	if err != nil || st.Phase != drivers.PhaseExited || !st.Exit.Lost || !strings.Contains(st.Exit.Reason, "restarted") {
		t.Errorf("Status: %+v, %v; want a lost exit", st, err)
	}
	if err := d.Start(t.Context(), h); err != nil {
		t.Fatalf("Start: %v", err)
	}
	waitLog(t, d, h, "up\nup\n")
}

func ownStart(t *testing.T) uint64 {
	t.Helper()
	s, err := shim.ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return s.Start
}

// TestPowerLoss damages files as a power loss may.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	d := newDriver(t, Config{Dir: dir})
	h := start(t, d, shell("power", "echo up"))
	if _, err := d.Wait(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "power-1")
	for _, file := range []string{shim.FileRun, shim.FileExit} {
		if err := os.WriteFile(filepath.Join(own, file), []byte{0, 0}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st, err := d.Status(t.Context(), h)
	if err != nil || !st.Exit.Lost {
		t.Errorf("Status: %+v, %v; want a lost exit", st, err)
	}
	if err := d.Start(t.Context(), h); err != nil {
		t.Errorf("Start: %v", err)
	}
	if exit, err := d.Wait(t.Context(), h); err != nil || exit.Code != 0 || exit.Lost {
		t.Errorf("Wait: %+v, %v", exit, err)
	}
	if err := os.WriteFile(filepath.Join(own, shim.FileLaunch), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), h); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("Start with a damaged launch: %v, want ErrNotFound", err)
	}
}

// agentEnv makes this test program an agent that starts workloads in a folder
// and then waits to be killed.
const agentEnv = "EDGEIO_TEST_AGENT"

func beAgent(dir string) {
	d, err := New(Config{Dir: dir, ShimPath: os.Getenv(agentEnv + "_SHIM"), CgroupParent: os.Getenv(agentEnv + "_CGROUP")}, discard())
	if err != nil {
		panic(err)
	}
	for i := range 5 {
		script := "echo up; sleep 1000"
		if i == 4 {
			script = "echo up; sleep 1; echo done; exit 6"
		}
		h, err := d.Create(context.Background(), shell(fmt.Sprintf("orphan-%d", i), script), nil)
		if err == nil {
			err = d.Start(context.Background(), h)
		}
		if err != nil {
			panic(err)
		}
	}
	fmt.Println("started")
	select {}
}

// TestAgentKilled kills an agent and all of its session with it.
func TestAgentKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	agent := exec.Command(self)
	agent.Env = append(os.Environ(), agentEnv+"="+dir, agentEnv+"_SHIM="+shimPath, agentEnv+"_CGROUP="+cgroupParent)
	agent.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	agent.Stderr = t.Output()
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(-agent.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = agent.Wait()

	d := newDriver(t, Config{Dir: dir})
	handles, err := d.List(t.Context())
	if err != nil || len(handles) != 5 {
		t.Fatalf("List: %v, %v; want 5", handles, err)
	}
	for _, h := range handles {
		if h.ID == "orphan-4" {
			if exit, err := d.Wait(t.Context(), h); err != nil || exit.Code != 6 {
				t.Errorf("Wait: %+v, %v; want code 6", exit, err)
			}
			waitLog(t, d, h, "up\ndone\n")
		} else if st, err := d.Status(t.Context(), h); err != nil || st.Phase != drivers.PhaseRunning {
			t.Errorf("Status of %s: %+v, %v; want running", h.ID, st, err)
		}
		if err := errors.Join(d.Stop(t.Context(), h, drivers.StopOptions{}), d.Remove(t.Context(), h)); err != nil {
			t.Error(err)
		}
	}
}

// TestWildOutput: a workload that prints without end costs the disk its
// quota and edgeshim no memory.
func TestWildOutput(t *testing.T) {
	dir := t.TempDir()
	d := newDriver(t, Config{Dir: dir, LogBytes: 1 << 20, LogFiles: 2})
	for name, script := range map[string]string{
		"lines": "yes", "newlines": "yes ''", "one-line": "tr '\\000' x </dev/zero",
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, d, shell(name, script))
			logs := func() []string {
				found, _ := filepath.Glob(filepath.Join(dir, name+"-1", "log*"))
				return found
			}
			for deadline := time.After(20 * time.Second); len(logs()) < 2; { // until it was rotated
				select {
				case <-deadline:
					t.Fatal("the log was not rotated")
				case <-time.After(10 * time.Millisecond):
				}
			}
			s, err := shim.ReadStat(runOf(t, d, h).Shim.PID)
			if rss := s.Pages * int64(os.Getpagesize()); err != nil || rss > 8<<20 {
				t.Errorf("edgeshim uses %d KiB, %v", rss>>10, err)
			}
			var size int64
			for _, f := range logs() {
				if info, err := os.Stat(f); err == nil {
					size += info.Size()
				}
			}
			// A file is closed before a line would make it too large.
			if size < 900<<10 || size > 2<<20 {
				t.Errorf("logs of %d KiB, want about 1 to 2 MiB", size>>10)
			}
		})
	}
}

func TestDefaultUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run workloads as others")
	}
	d := newDriver(t, Config{Dir: t.TempDir()})
	s := shell("user", "id -un; echo x >file && ls -l file | cut -d' ' -f3")
	s.User = ""
	h := start(t, d, s)
	if exit, err := d.Wait(t.Context(), h); err != nil || exit.Code != 0 {
		t.Errorf("Wait: %+v, %v", exit, err)
	}
	waitLog(t, d, h, "nobody\nnobody\n")
	for _, user := range []string{"no-such-user", "root:no-such-group", "-1"} {
		s := shell("bad", "true")
		s.User = user
		if _, err := d.Create(t.Context(), s, nil); !errors.Is(err, drivers.ErrInvalid) {
			t.Errorf("Create as %q: %v, want ErrInvalid", user, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "run"), []byte("#!/bin/sh\necho \"$EDGEIO_IMAGE $EDGEIO_PORT_WEB_UI $EDGEIO_PORT_9000 $PATH ${HOME##*/} $1\"; pwd"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDriver(t, Config{Dir: t.TempDir()})
	s := shell("env", "")
	s.Image.Path, s.Command, s.Args = folder, []string{"run"}, []string{"argument"}
	s.Ports = []drivers.Port{{Name: "web-ui", Protocol: "tcp", Port: 80, HostPort: 8080}, {Protocol: "udp", Port: 9000}}
	h := start(t, d, s)
	waitLog(t, d, h, folder+" 8080 9000 "+defaultPath+" work argument\n"+filepath.Join(d.cfg.Dir, "env-1", "work"))
	s.ID, s.Command = "no-command", nil
	if _, err := d.Create(t.Context(), s, nil); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("Create of a folder without command: %v, want ErrInvalid", err)
	}
}

func TestProbeWithoutShim(t *testing.T) {
	d, err := New(Config{Dir: t.TempDir(), ShimPath: "/nonexistent/edgeshim"}, discard())
	if err != nil {
		t.Fatal(err)
	}
	if info := d.Probe(t.Context()); info.Usable || info.Reason == "" || info.Remedy == "" {
		t.Errorf("%+v", info)
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
	newDriver(t, Config{Dir: dir})
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an old half-made folder stays: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("one that another agent may be at work on is gone: %v", err)
	}
}

func TestParseFolder(t *testing.T) {
	for name, ok := range map[string]bool{"a-b-3": true, "a-0": true, ".new-1": false, "a": false, "-1": false, "A-1": false, "a-b": false} {
		h, got := parseFolder(name)
		if got != ok || ok && folder(h.ID, h.Generation) != name {
			t.Errorf("%s: %+v, %v", name, h, got)
		}
	}
}
