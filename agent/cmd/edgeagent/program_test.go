package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/agent/uplink/uplinktest"
	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/proto/job"
)

// TestJobOfADriverProgram runs a job with a driver that is a program beside the
// agent, and kills both.
func TestJobOfADriverProgram(t *testing.T) {
	m := newMachine(t)
	_, err := exec.LookPath("python3")
	drivertest.Require(t, "python3", err == nil, "there is no python3")
	program, err := os.ReadFile("../../../drivers/external/example-python/edgedriver-process")
	if err != nil {
		t.Fatal(err)
	}
	// A runtime that job files may name and the agent has no driver for.
	path := filepath.Join(m.bin, "drivers", "edgedriver-lxc")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	p := uplinktest.New(t)
	p.Want(sleeper("a", func(j *job.Job) { j.Runtime = "lxc" }))
	m.cmd = m.command("run", "--join", p.Addr, "--token", p.Token())
	m.cmd.Stderr = m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.UntilState("a", "RUNNING")
	if out, err := m.output("drivers", "list"); err != nil || !strings.Contains(out, "lxc ") {
		t.Errorf("drivers list: %v\n%s", err, out)
	}

	killed := programs(t, path)
	if len(killed) != 1 {
		t.Fatalf("%d driver programs run, want 1", len(killed))
	}
	if err := syscall.Kill(killed[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the driver program is started again", func() bool {
		now := programs(t, path)
		return len(now) == 1 && now[0] != killed[0]
	})
	m.stop(syscall.SIGKILL)
	until(t, "the driver program ends with the agent", func() bool { return len(programs(t, path)) == 0 })
	p.Update(func() { clear(p.Last) })
	m.start()
	p.UntilState("a", "RUNNING")
	for _, w := range m.workloads() {
		if w.State != job.Running || w.Restarts != 0 {
			t.Errorf("%s is %s after %d restarts", w.ID, w.State, w.Restarts)
		}
	}
	p.Apply(nil, "a")
	p.UntilState("a", "TERMINATED")
}

// programs returns the processes that run the driver program at path, without
// those that keep its workloads.
func programs(t *testing.T, path string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if bytes.Contains(b, []byte(path)) && !bytes.Contains(b, []byte("\x00keep\x00")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
