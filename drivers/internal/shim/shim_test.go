package shim

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// text is a string of any bytes but zero, as arguments and variables are.
func text(t *rapid.T, name string) string {
	return string(rapid.SliceOf(rapid.ByteRange(1, 255)).Draw(t, name))
}

func TestLaunchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &Launch{
			ID: "a", Generation: rapid.Uint64().Draw(t, "generation"), Image: text(t, "image"), Path: text(t, "path"),
			Argv: []string{text(t, "arg0"), text(t, "arg1"), ""}, Env: []string{text(t, "env")}, Dir: text(t, "dir"),
			SetUser: true, UID: rapid.Uint32().Draw(t, "uid"), GID: 7, Groups: []uint32{1, rapid.Uint32().Draw(t, "group")},
			Cgroup:   cgroup.Group{V1: []cgroup.V1{{Controller: "cpu", Dir: "/sys/x:y"}}, V2: "/sys/z"},
			Limits:   cgroup.Limits{CPUMillis: 1, MemoryBytes: rapid.Int64().Draw(t, "memory"), PIDs: 3},
			LogBytes: 1 << 40, LogFiles: 3,
			Ports: []Port{{Name: text(t, "port"), Protocol: "udp", Port: 1, HostPort: 65535}},
		}
		got, err := ParseLaunch(want.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

func TestRunAndExitRoundTrip(t *testing.T) {
	run := &Run{Number: 3, BootID: "b", StartedAt: time.Unix(5, 6), Shim: Process{1, 2}, Main: Process{3, 1 << 63}}
	if got, err := ParseRun(run.Append(nil)); err != nil || *got != *run {
		t.Errorf("run %+v came back as %+v, %v", run, got, err)
	}
	exit := &Exit{Number: 3, Code: -1, OOM: true, Lost: true, Reason: "a=b\nc", At: time.Unix(7, 8)}
	if got, err := ParseExit(exit.Append(nil)); err != nil || *got != *exit {
		t.Errorf("exit %+v came back as %+v, %v", exit, got, err)
	}
}

// TestCutShort parses each beginning of a file that is not the whole.
func TestCutShort(t *testing.T) {
	whole := (&Exit{Number: 12, Code: 34, At: time.Unix(56, 0)}).Append(nil)
	for n := range whole {
		e, err := ParseExit(whole[:n])
		if err == nil && whole[max(n-1, 0)] != 0 {
			t.Errorf("%d bytes of %d were taken for an exit: %+v", n, len(whole), e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&Launch{ID: "a", Argv: []string{"x"}, SetUser: true, Ports: []Port{{Port: 1}}}).Append(nil))
	f.Add((&Run{Number: 1}).Append(nil))
	f.Add((&Exit{Number: 1}).Append(nil))
	f.Add([]byte("no equals sign\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseRun(b)
		_, _ = ParseExit(b)
		l, err := ParseLaunch(b)
		if err != nil {
			return
		}
		again, err := ParseLaunch(l.Append(nil))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if d := cmp.Diff(l, again, cmpopts.EquateEmpty()); d != "" && l.SetUser {
			t.Errorf("(-first +second):\n%s", d)
		}
	})
}

func TestParseStat(t *testing.T) {
	const line = "42 (a) (b c) S 7 42 42 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 3 0 987654 1000000 250 18446744073709551615 1 1\n"
	got, err := parseStat([]byte(line))
	want := Stat{State: 'S', Parent: 7, Start: 987654, Ticks: 110, Pages: 250}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "42 (x)", "42 (x) S", "42 (x) S a b c d e f g h i j k l m n o p q r s t u v"} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken for %+v", bad, s)
		}
	}
}

func TestProcesses(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{Marker + "=test-of-shim"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stat, err := ReadStat(cmd.Process.Pid)
	p := Process{cmd.Process.Pid, stat.Start}
	if err != nil || !p.Alive() {
		t.Errorf("a running process: %+v, %v", stat, err)
	}
	if (Process{p.PID, p.Start + 1}).Alive() {
		t.Error("a process with another start time is taken for the same")
	}
	if !slices.Contains(Descendants(os.Getpid()), p.PID) {
		t.Error("a child is not found among the descendants")
	}
	if got := Marked("test-of-shim"); !slices.Equal(got, []int{p.PID}) {
		t.Errorf("marked: %v, want %d", got, p.PID)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if p.Alive() {
		t.Error("an ended process is taken for alive")
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"one", "two"} {
		if err := WriteFile(dir, "f", []byte(content), true); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(dir + "/f"); err != nil || string(b) != content {
			t.Errorf("%q, %v; want %q", b, err, content)
		}
	}
	if names, err := readNames(dir); err != nil || len(names) != 1 {
		t.Errorf("files %v, %v; want f alone", names, err)
	}
}
