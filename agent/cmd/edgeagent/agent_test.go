package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/agent/uplink/uplinktest"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// build makes the agent and the shim, stripped as they are shipped.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "github.com/edgeio/edgeio/agent/cmd/edgeagent", "github.com/edgeio/edgeio/drivers/cmd/edgeshim", "github.com/edgeio/edgeio/drivers/cmd/edgehvt")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// machine is a state directory with agents that come and go.
type machine struct {
	t     *testing.T
	bin   string
	state string
	log   *os.File
	cmd   *exec.Cmd
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		if strings.Contains(os.Getenv("EDGEIO_REQUIRE"), "native") {
			t.Fatal("EDGEIO_REQUIRE asks for native, which needs root on Linux")
		}
		t.Skip("needs root on Linux")
	}
	m := &machine{t: t, bin: build(t), state: filepath.Join(t.TempDir(), "state")}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	m.log = log
	t.Cleanup(func() {
		m.stop(syscall.SIGTERM)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of the agent:\n%s", text[max(0, len(text)-8000):])
		}
		_ = log.Close()
	})
	return m
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(m.bin, "edgeagent"), append(args, "--state-dir", m.state)...)
	cmd.Env = append(os.Environ(), "EDGEAGENT_DRIVERS_NATIVE_DEFAULT_USER=root")
	return cmd
}

func (m *machine) output(args ...string) (string, error) {
	out, err := m.command(args...).CombinedOutput()
	return string(out), err
}

func (m *machine) start() {
	m.t.Helper()
	m.cmd = m.command("run", "--log-level", "debug")
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) stop(sig syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(sig)
	err := m.cmd.Wait()
	if sig == syscall.SIGTERM && err != nil {
		m.t.Errorf("the agent ends with %v", err)
	}
	m.cmd = nil
}

// rss returns the agent's resident memory in KiB.
func (m *machine) rss() int {
	m.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		m.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	fields := strings.Fields(string(rest))
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return kib
}

func sleeper(id string, change ...func(*job.Job)) *edgeiov1.Assignment {
	j := job.Job{APIVersion: job.APIVersion, Name: id, Image: "/bin/sh", Runtime: "native", Args: []string{"-c", "echo up; exec sleep 1000"}}
	for _, f := range change {
		f(&j)
	}
	return uplinktest.Assignment(id, 1, j)
}

type listed struct {
	ID       string         `json:"id"`
	State    job.State      `json:"state"`
	Restarts int            `json:"restarts"`
	Changes  []any          `json:"changes"`
	Exit     map[string]any `json:"exit"`
}

func (m *machine) workloads() []listed {
	m.t.Helper()
	out, err := m.command("workloads", "-o", "json").Output()
	if err != nil {
		m.t.Fatal(err)
	}
	var all []listed
	if err := json.Unmarshal(out, &all); err != nil {
		m.t.Fatalf("%v in %s", err, out)
	}
	return all
}

func TestHundredJobsSurviveTheAgent(t *testing.T) {
	m := newMachine(t)
	p := uplinktest.New(t)
	if out, err := m.output("run"); err == nil || !strings.Contains(out, "edgeagent join") {
		t.Errorf("run before join: %v, %s", err, out)
	}
	out, err := m.output("join", p.Addr, "--token", p.Token(), "--name", "e580")
	if err != nil || !strings.Contains(out, "edgeagent run") {
		t.Fatalf("join: %v\n%s", err, out)
	}
	if out, err := m.output("join", p.Addr, "--token", p.Token()); err == nil || !strings.Contains(out, "--force") {
		t.Errorf("joined twice: %v, %s", err, out)
	}
	m.start()
	p.Until("registered", func() bool { return p.Usage > 0 })
	t.Logf("idle: %d KiB resident", m.rss())

	const n = 100
	var put []*edgeiov1.Assignment
	for i := range n {
		put = append(put, sleeper(fmt.Sprintf("i%d", i)))
	}
	start := time.Now()
	p.Apply(put)
	allRunning := func() bool {
		for i := range n {
			if p.Last[fmt.Sprintf("i%d", i)].GetState() != "RUNNING" {
				return false
			}
		}
		return true
	}
	p.Until("all are RUNNING", allRunning)
	t.Logf("%d jobs RUNNING after %s", n, time.Since(start).Round(time.Millisecond))
	if out, err := m.output("run"); err == nil || !strings.Contains(out, "another agent") {
		t.Errorf("a second agent: %v, %s", err, out)
	}
	one := time.Now()
	p.Apply([]*edgeiov1.Assignment{sleeper("one")})
	p.UntilState("one", "RUNNING")
	t.Logf("one job RUNNING after %s; %d KiB resident with %d jobs", time.Since(one).Round(100*time.Microsecond), m.rss(), n+1)

	before := sleepers(t, m.state)
	m.stop(syscall.SIGKILL)
	if after := sleepers(t, m.state); after != before {
		t.Fatalf("%d of %d processes survive the agent", after, before)
	}
	p.Update(func() { clear(p.Last) })
	start = time.Now()
	m.start()
	p.Until("all are reported again", allRunning)
	t.Logf("all adopted and reported %s after the start", time.Since(start).Round(time.Millisecond))
	for _, w := range m.workloads() {
		if w.State != job.Running || w.Restarts != 0 {
			t.Errorf("%s is %s after %d restarts", w.ID, w.State, w.Restarts)
		}
	}

	var remove []string
	for i := range n {
		remove = append(remove, fmt.Sprintf("i%d", i))
	}
	p.Apply(nil, append(remove, "one")...)
	p.Until("all are gone", func() bool {
		for _, st := range p.Last {
			if st.GetState() != "TERMINATED" {
				return false
			}
		}
		return true
	})
	if left := sleepers(t, m.state); left != 0 {
		t.Errorf("%d processes are left", left)
	}
}

// sleepers counts the processes that jobs of this state directory have: shims
// name the workload's folder on their command line or work in it.
func sleepers(t *testing.T, state string) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range dirs {
		cwd, _ := os.Readlink(filepath.Join(d, "cwd"))
		cmdline, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		if strings.HasPrefix(cwd, state) || bytes.Contains(cmdline, []byte(filepath.Join(state, "native"))) {
			n++
		}
	}
	return n
}

func TestExitWhileTheAgentIsAway(t *testing.T) {
	m := newMachine(t)
	p := uplinktest.New(t)
	p.Want(sleeper("a", func(j *job.Job) {
		j.Args = []string{"-c", "echo last words; sleep 1; exit 7"}
		j.Restart.Policy = job.RestartNever
	}))
	m.cmd = m.command("run", "--join", p.Addr, "--token", p.Token())
	m.cmd.Stderr = m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.UntilState("a", "RUNNING")
	m.stop(syscall.SIGKILL)
	deadline := time.Now().Add(20 * time.Second)
	for sleepers(t, m.state) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.start()
	p.UntilState("a", "FAILED")
	p.Until("exit code", func() bool { return p.Last["a"].GetExit().GetCode() == 7 })
	if got := p.Told("a"); got != "SCHEDULED_NODE RUNNING FAILED" {
		t.Errorf("history %s", got)
	}
	p.Apply(nil, "a")
	p.UntilState("a", "TERMINATED")
}

func TestLogsAndExecOverTheLink(t *testing.T) {
	m := newMachine(t)
	p := uplinktest.New(t)
	p.Want(sleeper("a"))
	m.cmd = m.command("run", "--join", p.Addr, "--token", p.Token())
	m.cmd.Stderr = m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.UntilState("a", "RUNNING")
	child := edgeiov1.NewDRPCChildClient(p.Conn())

	logs, err := child.Logs(t.Context(), &edgeiov1.LogsRequest{InstanceId: "a", Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := logs.Recv()
	if err != nil || string(chunk.GetData()) != "up\n" || chunk.GetStream() != "stdout" {
		t.Errorf("logs: %v, %v", chunk, err)
	}
	missing, err := child.Logs(t.Context(), &edgeiov1.LogsRequest{InstanceId: "nobody"})
	if err == nil {
		_, err = missing.Recv()
	}
	if !errors.Is(err, link.NotFound) {
		t.Errorf("logs of nobody: %v", err)
	}

	stream, err := child.Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []*edgeiov1.ExecInput{
		{Start: &edgeiov1.ExecStart{InstanceId: "a", Command: []string{"/bin/sh", "-c", "tr a-z A-Z; echo oops >&2; exit 5"}}},
		{Stdin: []byte("hello")},
		{StdinEof: true},
	} {
		if err := stream.Send(in); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	for {
		out, err := stream.Recv()
		if err != nil {
			t.Fatalf("exec: %v", err)
		}
		stdout.Write(out.GetStdout())
		stderr.Write(out.GetStderr())
		if out.GetExited() {
			if out.GetExitCode() != 5 {
				t.Errorf("exit code %d, want 5", out.GetExitCode())
			}
			break
		}
	}
	if stdout.String() != "HELLO" || stderr.String() != "oops\n" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}

	p.Apply(nil, "a")
	p.UntilState("a", "TERMINATED")
	if _, err := logs.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("following the logs of what was removed ends with %v", err)
	}
}

func TestBadInput(t *testing.T) {
	m := newMachine(t)
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("nam: x\nlog:\n  level: loud\n  fromat: text\nreserve: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"run", "--config", file}, []string{":1:1: nam: unknown", ":4:3: log.fromat: unknown", ":5:10: reserve: want a mapping"}},
		{[]string{"run", "--log-level", "loud"}, []string{"log.level"}},
		{[]string{"run", "--bogus"}, []string{"-bogus"}},
		{[]string{"join"}, []string{"HOST:PORT"}},
		{[]string{"join", "127.0.0.1:1"}, []string{"--token"}},
		{[]string{"drivers", "list", "-o", "xml"}, []string{"want table or json"}},
		{[]string{"workloads", "--parent", "nowhere"}, []string{"host:port"}},
	} {
		out, err := m.output(c.args...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%v: %v, want exit code 2\n%s", c.args, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", c.args, want, out)
			}
		}
	}
	if out, err := m.output("join", "127.0.0.1:1", "--token", "nonsense"); err == nil || strings.Contains(out, "nonsense") {
		t.Errorf("nonsense token: %v, %s", err, out)
	}
}

func TestDriversListIsTheSameForScripts(t *testing.T) {
	m := newMachine(t)
	out, err := m.command("drivers", "list", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 3 || all[0]["name"] != "docker" || all[1]["name"] != "mirage" || all[2]["name"] != "native" {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestDriversListChecks(t *testing.T) {
	m := newMachine(t)
	out, err := m.command("drivers", "list", "--check", "-o", "json").Output()
	var all []struct{ Name, Check string }
	if jsonErr := json.Unmarshal(out, &all); jsonErr != nil || err != nil {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	for _, d := range all {
		if d.Name == "native" && d.Check != "ok" {
			t.Errorf("native: check %q", d.Check)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "edgeagent-check-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
