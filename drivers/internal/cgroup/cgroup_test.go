package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree makes files below a new folder; a name that ends in / is a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func content(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// v2Files is a version 2 hierarchy with one group, as the kernel would make it.
var v2Files = map[string]string{
	"cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.subtree_control": "",
	"edgeio/cgroup.subtree_control": "",
	"edgeio/w/cpu.max":              "", "edgeio/w/memory.max": "", "edgeio/w/memory.swap.max": "", "edgeio/w/memory.oom.group": "",
	"edgeio/w/pids.max": "", "edgeio/w/cgroup.procs": "", "edgeio/w/cgroup.kill": "",
	"edgeio/w/cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "edgeio/w/memory.current": "5000\n",
	"edgeio/w/memory.stat": "anon 1\ninactive_file 1000\n", "edgeio/w/pids.current": "3\n",
	"edgeio/w/memory.events": "low 0\noom 1\noom_kill 2\noom_group_kill 1\n",
}

func TestV2(t *testing.T) {
	root := tree(t, v2Files)
	h := Detect(root, "edgeio")
	if !h.Tracks() {
		t.Fatalf("no group can be made: %+v", h)
	}
	if got := content(t, root, "cgroup.subtree_control"); got == "" {
		t.Error("no controller was handed down")
	}
	g := h.Group("w")
	if err := g.limit(Limits{CPUMillis: 1500, MemoryBytes: 1 << 20, PIDs: 10}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"cpu.max": "150000 100000", "memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "10",
	} {
		if got := content(t, root, "edgeio/w/"+file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	want := Usage{CPUTime: 1500 * time.Millisecond, MemoryBytes: 4000, PIDs: 3}
	if d := cmp.Diff(want, g.Usage()); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
	if !g.OOMKilled() {
		t.Error("an OOM kill was overlooked")
	}
	if err := g.Kill(); err != nil || content(t, root, "edgeio/w/cgroup.kill") != "1" {
		t.Errorf("Kill: %v", err)
	}
}

func TestV2Controllers(t *testing.T) {
	files := map[string]string{"cgroup.controllers": "cpu", "cgroup.subtree_control": "", "edgeio/cgroup.subtree_control": ""}
	h := &Host{v2: tree(t, files), parent: "edgeio"}
	h.detectV2()
	// The last write stays in a plain file: what the kernel would list.
	if h.CPU || h.Memory {
		t.Errorf("controllers that are not enabled are taken for usable: %+v", h)
	}
}

func TestNothingMounted(t *testing.T) {
	h := Detect(t.TempDir(), "edgeio")
	if h.Tracks() || h.CPU || h.Memory || h.PIDs || h.Reason == "" {
		t.Errorf("%+v", h)
	}
	g := h.Group("w")
	if !g.None() {
		t.Errorf("group %+v, want none", g)
	}
	if err := g.Create(Limits{}); err != nil {
		t.Error(err)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}

func TestV1Limits(t *testing.T) {
	root := tree(t, map[string]string{
		"cpu/w/cpu.cfs_period_us": "", "cpu/w/cpu.cfs_quota_us": "", "memory/w/memory.limit_in_bytes": "", "pids/w/pids.max": "",
		"memory/w/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
	})
	g := Group{V1: []V1{{"cpu", root + "/cpu/w"}, {"memory", root + "/memory/w"}, {"pids", root + "/pids/w"}}}
	if err := g.limit(Limits{CPUMillis: 1, MemoryBytes: 4096, PIDs: 2}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"cpu/w/cpu.cfs_quota_us": "1000", "memory/w/memory.limit_in_bytes": "4096", "pids/w/pids.max": "2",
	} {
		if got := content(t, root, file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if g.OOMKilled() {
		t.Error("an OOM kill that was none")
	}
}

// TestHere uses this machine's control groups.
func TestHere(t *testing.T) {
	h := Detect(DefaultRoot, "edgeio-test-cgroup")
	if !h.Tracks() {
		t.Skipf("no control groups can be made here: %s", h.Reason)
	}
	g := h.Group("w")
	limits := Limits{}
	if h.PIDs {
		limits.PIDs = 50
	}
	for range 2 { // the second makes it anew
		if err := g.Create(limits); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		h.Cleanup()
		if g.Exists() {
			t.Error("it still exists")
		}
	})
	cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range g.dirs() {
		if err := write(dir, "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Error(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	<-done
	if left := g.Processes(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
