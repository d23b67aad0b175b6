package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

// ownDaemon is a Docker daemon that a test may stop and start. It has a network
// namespace of its own: without one, its lack of a bridge would take away the
// bridge of the machine's daemon.
type ownDaemon struct {
	dir   string
	flags []string
	cmd   *exec.Cmd
	log   *os.File
}

func startOwnDaemon(t *testing.T, flags ...string) *ownDaemon {
	t.Helper()
	shared, image := daemon(t)
	_, err := exec.LookPath("dockerd")
	drivertest.Require(t, "docker", err == nil && os.Getuid() == 0, "a daemon of its own needs root and dockerd")
	dir := shortDir(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &ownDaemon{dir: dir, flags: flags, log: log}
	t.Cleanup(func() { d.tearDown(t) })
	d.start(t)

	saved, err := shared.ImageSave(t.Context(), []string{image})
	if err != nil {
		t.Fatalf("save %s: %v", image, err)
	}
	defer saved.Close()
	own, err := client.New(client.WithHost(d.host()))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	loaded, err := own.ImageLoad(t.Context(), saved)
	if err != nil {
		t.Fatalf("load %s: %v", image, err)
	}
	defer loaded.Close()
	if _, err := io.Copy(io.Discard, loaded); err != nil {
		t.Fatalf("load %s: %v", image, err)
	}
	return d
}

func (d *ownDaemon) host() string { return "unix://" + filepath.Join(d.dir, "s") }

// launch starts the process and does not wait for it to answer.
func (d *ownDaemon) launch(t *testing.T) {
	t.Helper()
	in := func(name string) string { return filepath.Join(d.dir, name) }
	args := append([]string{
		"--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"), "--host", d.host(),
		"--bridge=none", "--iptables=false", "--ip6tables=false",
	}, d.flags...)
	d.cmd = exec.Command("dockerd", args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("dockerd: %v", err)
	}
}

func (d *ownDaemon) start(t *testing.T) {
	t.Helper()
	d.launch(t)
	probe := newDriver(t, docker.Config{Host: d.host()})
	waitFor(t, "the daemon answers", func() bool { return probe.Probe(t.Context()).Usable })
}

func (d *ownDaemon) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal dockerd: %v", err)
	}
}

// freeze stops the daemon in its tracks, as a hang does. Its threads stop one
// after the other.
func (d *ownDaemon) freeze(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGSTOP)
	waitFor(t, "the daemon stands still", func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.cmd.Process.Pid))
		return !slices.ContainsFunc(stats, func(stat string) bool {
			text, _ := os.ReadFile(stat)
			_, after, _ := strings.Cut(string(text), ") ")
			return !strings.HasPrefix(after, "T")
		})
	})
}

func (d *ownDaemon) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	d.signal(t, sig)
	_ = d.cmd.Wait()
	d.cmd = nil
	if sig == syscall.SIGKILL {
		d.forgetContainerd(t)
	}
}

// forgetContainerd waits for the end of the containerd that dies with a killed
// daemon. Where process 1 reaps no orphans it stays a zombie, which the next
// daemon would take for alive, so its number is forgotten.
func (d *ownDaemon) forgetContainerd(t *testing.T) {
	t.Helper()
	file := filepath.Join(d.dir, "exec/containerd/containerd.pid")
	pid, err := os.ReadFile(file)
	if err != nil {
		return
	}
	waitFor(t, "containerd ends", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// tearDown ends the daemon, its containerd if that was left alone, and its mounts.
func (d *ownDaemon) tearDown(t *testing.T) {
	if d.cmd != nil {
		d.end(t, syscall.SIGTERM)
	}
	if raw, err := os.ReadFile(filepath.Join(d.dir, "exec/containerd/containerd.pid")); err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(comm)) == "containerd" {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	_ = d.log.Close()
	mounts, _ := os.ReadFile("/proc/self/mounts")
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], d.dir+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	if t.Failed() {
		raw, _ := os.ReadFile(filepath.Join(d.dir, "log"))
		t.Logf("the daemon's last words:\n%s", raw[max(0, len(raw)-3000):])
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 45 s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// begin creates and starts a container of the script.
func begin(t *testing.T, d *docker.Driver, id, image, script string) drivers.Handle {
	t.Helper()
	h, err := d.Create(t.Context(), shellSpec(id, image, script), nil)
	if err == nil {
		err = d.Start(t.Context(), h)
	}
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return h
}

type ending struct {
	exit drivers.Exit
	err  error
}

func waitAsync(t *testing.T, d *docker.Driver, h drivers.Handle) <-chan ending {
	ch := make(chan ending, 1)
	go func() {
		exit, err := d.Wait(t.Context(), h)
		ch <- ending{exit, err}
	}()
	return ch
}

const polite = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done"

// TestDaemonStops wants the containers that the daemon takes down with it to be
// lost and not to have ended by themselves, whatever their exit code.
func TestDaemonStops(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			_, image := daemon(t)
			own := startOwnDaemon(t)
			d := newDriver(t, docker.Config{Host: own.host()})
			sweep(t, d)
			h := begin(t, d, "polite", image, polite)
			waitOutput(t, d, h, "ready\n")
			ended := waitAsync(t, d, h)
			waitSubscribed(t, own)
			own.end(t, sig)
			own.start(t)
			got := <-ended
			if got.err != nil || !got.exit.Lost || got.exit.Code != -1 {
				t.Errorf("Wait: %+v, %v; want lost", got.exit, got.err)
			}
			st, err := d.Status(t.Context(), h)
			if err != nil || st.Phase != drivers.PhaseExited || !st.Exit.Lost {
				t.Errorf("Status: %+v, %v; want exited and lost", st, err)
			}
			if err := d.Start(t.Context(), h); err != nil {
				t.Errorf("Start after the daemon's return: %v", err)
			}
			if st, err := d.Status(t.Context(), h); err != nil || st.Phase != drivers.PhaseRunning {
				t.Errorf("Status: %+v, %v; want running", st, err)
			}
		})
	}
}

// TestDaemonRestartsUnderLivingContainers wants nothing to be seen of it: no
// exit, no gap and no repetition in the logs.
func TestDaemonRestartsUnderLivingContainers(t *testing.T) {
	_, image := daemon(t)
	own := startOwnDaemon(t, "--live-restore")
	d := newDriver(t, docker.Config{Host: own.host()})
	sweep(t, d)
	h := begin(t, d, "living", image, "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i; sleep 0.02; done; exit 3")
	ended := waitAsync(t, d, h)

	var mu sync.Mutex
	var out strings.Builder
	lines := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	logs := make(chan error, 1)
	go func() {
		logs <- d.Logs(t.Context(), h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
			mu.Lock()
			defer mu.Unlock()
			out.Write(e.Data)
			return nil
		})
	}()
	changes := make(chan struct{}, 100)
	watchCtx, stopWatch := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- d.Watch(watchCtx, func() { changes <- struct{}{} }) }()

	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		before := len(lines())
		waitFor(t, "output arrives", func() bool { return len(lines()) > before+20 })
		for len(changes) > 0 {
			<-changes
		}
		own.end(t, sig)
		if st, err := d.Status(t.Context(), h); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Status without a daemon: %+v, %v; want ErrUnavailable", st, err)
		}
		waitFor(t, "Watch tells of the loss", func() bool { return len(changes) > 0 })
		own.start(t)
		waitFor(t, "Watch tells of the return", func() bool { return len(changes) > 1 })
		select {
		case e := <-ended:
			t.Fatalf("Wait returned %+v, %v although the container lives", e.exit, e.err)
		default:
		}
	}
	after := len(lines())
	waitFor(t, "output goes on", func() bool { return len(lines()) > after+20 })
	if code, err := d.Exec(t.Context(), h, drivers.ExecOptions{Command: []string{"touch", "/tmp/stop"}}); code != 0 || err != nil {
		t.Fatalf("Exec: %d, %v", code, err)
	}
	if e := <-ended; e.err != nil || e.exit.Code != 3 || e.exit.Lost {
		t.Errorf("Wait: %+v, %v; want code 3", e.exit, e.err)
	}
	if err := d.Remove(t.Context(), h); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if err := <-logs; err != nil {
		t.Errorf("Logs: %v", err)
	}
	for i, line := range lines() {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d of the log is %q: %q", i+1, line, lines()[max(0, i-3):min(i+4, len(lines()))])
		}
	}
	stopWatch()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

// TestDaemonHangs stops the daemon's process without ending it.
func TestDaemonHangs(t *testing.T) {
	_, image := daemon(t)
	own := startOwnDaemon(t)
	d := newDriver(t, docker.Config{Host: own.host(), QueryTimeout: time.Second, ChangeTimeout: time.Second, ProbeTimeout: time.Second})
	sweep(t, d)
	h := begin(t, d, "hung", image, polite)
	ended := waitAsync(t, d, h)
	own.freeze(t)
	begun := time.Now()
	if _, err := d.Status(t.Context(), h); !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Status: %v, want ErrUnavailable", err)
	}
	if err := d.Start(t.Context(), h); !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Start: %v, want ErrUnavailable", err)
	}
	if info := d.Probe(t.Context()); info.Usable || !strings.Contains(info.Reason, "does not answer") {
		t.Errorf("Probe: %+v", info)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("three calls took %v with a timeout of 1 s each", took)
	}
	own.signal(t, syscall.SIGCONT)
	waitFor(t, "the daemon answers", func() bool { return d.Probe(t.Context()).Usable })
	if err := d.Stop(t.Context(), h, drivers.StopOptions{}); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if e := <-ended; e.err != nil || e.exit.Code != 137 {
		t.Errorf("Wait: %+v, %v; want code 137", e.exit, e.err)
	}
}

func waitOutput(t *testing.T, d *docker.Driver, h drivers.Handle, want string) {
	t.Helper()
	waitFor(t, "output", func() bool {
		var out strings.Builder
		_ = d.Logs(t.Context(), h, drivers.LogOptions{Tail: -1}, func(e drivers.LogEntry) error {
			out.Write(e.Data)
			return nil
		})
		return out.String() == want
	})
}

// waitSubscribed waits until somebody reads the daemon's events.
func waitSubscribed(t *testing.T, own *ownDaemon) {
	t.Helper()
	api, err := client.New(client.WithHost(own.host()))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	waitFor(t, "somebody waits", func() bool {
		info, err := api.Info(t.Context(), client.InfoOptions{})
		return err == nil && info.Info.NEventsListener > 0
	})
}
