package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is one long-running program of a tree. It can be stopped, killed and
// started again; its output is collected over all its runs. Its methods are
// not safe for concurrent use.
type Process struct {
	Name string
	t    testing.TB
	argv []string
	env  []string
	out  output
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // how; valid once done is closed
}

// stopTimeout is how long a program has to end after SIGTERM.
const stopTimeout = 20 * time.Second

// Start starts the program; env is for this run only.
func (p *Process) Start(env ...string) {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("%s runs already", p.Name)
	}
	out := p.out.open()
	defer func() { _ = out.Close() }()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Env = append(append(os.Environ(), p.env...), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// Should the tests be killed, the programs are told to end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		p.err = cmd.Wait()
		close(done)
	}()
}

// Running reports whether the program runs.
func (p *Process) Running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is that of the last run.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the program with SIGKILL.
func (p *Process) Kill() {
	p.t.Helper()
	if !p.Running() {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && p.Running() {
		p.t.Fatalf("kill %s: %v", p.Name, err)
	}
	<-p.done
}

// Stop ends the program with SIGTERM, which must succeed in time.
func (p *Process) Stop() {
	p.t.Helper()
	if !p.Running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.Wait(stopTimeout); err != nil {
		p.t.Errorf("%s after SIGTERM: %v", p.Name, err)
		p.Kill()
	}
}

// Wait waits until the program ends by itself.
func (p *Process) Wait(timeout time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(timeout):
		return fmt.Errorf("it still runs after %s", timeout)
	}
}

// match waits until the output of the present run matches, and returns the groups.
func (p *Process) match(ctx context.Context, re *regexp.Regexp) []string {
	p.t.Helper()
	for {
		if m := re.FindStringSubmatch(p.out.recent()); m != nil {
			return m
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s ended: %v\n%s", p.Name, p.err, p.out.recent())
		case <-ctx.Done():
			p.t.Fatalf("%s does not say %q in time:\n%s", p.Name, re, p.out.recent())
		case <-time.After(pollInterval):
		}
	}
}

// Output is what the program has written since it was last started.
func (p *Process) Output() string { return p.out.recent() }

// output is the file that a program writes to, in all its runs. The program
// has it open itself, so that nothing is lost however the program ends.
type output struct {
	t     testing.TB
	path  string
	start int // of the present run
}

// open returns the file for a further run.
func (o *output) open() *os.File {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		o.t.Fatalf("collect output: %v", err)
	}
	o.start = len(o.String())
	return f
}

func (o *output) recent() string { return o.String()[o.start:] }

func (o *output) String() string {
	b, _ := os.ReadFile(o.path) // missing: never started
	return string(b)
}

// raceOptions has data races written into the tree, and programs end without
// the second's pause that is for detectors that lag behind.
func (tr *Tree) raceOptions() string {
	return "GORACE=log_path=" + tr.path("race") + " halt_on_error=0 atexit_sleep_ms=0"
}

// processesOf returns, by PID, the command lines of all processes whose
// arguments or working directory lie in dir, but for the given ones: the
// programs of a tree, its shims and its workloads.
func processesOf(dir string, but ...int) map[int]string {
	found := map[int]string{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(filepath.Base(e), &pid); err != nil || pid == os.Getpid() || slices.Contains(but, pid) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(e, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(e, "cwd"))
		if len(cmdline) == 0 { // it has ended, or is the kernel's
			continue
		}
		if bytes.Contains(cmdline, []byte(dir+"/")) || strings.HasPrefix(cwd, dir+"/") {
			found[pid] = strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")
		}
	}
	return found
}
