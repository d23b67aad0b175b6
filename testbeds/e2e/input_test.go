package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// bomb is the YAML of "billion laughs".
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	return b.String()
}

// Files that are no jobs are refused with what is wrong and leave nothing.
func TestBadJobFiles(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	noise := make([]byte, 10_000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	good := shell("good", "true")
	for name, tt := range map[string]struct {
		file  string
		texts []string
	}{
		"empty":             {"", nil},
		"only a comment":    {"# nothing\n", nil},
		"huge":              {good + "env:\n  A: " + strings.Repeat("x", 10_000_000), []string{"job.yaml", "larger than 1 MiB"}},
		"binary":            {string(noise), nil},
		"zeros":             {strings.Repeat("\x00", 1000), nil},
		"nested":            {strings.Repeat("[", 100_000), nil},
		"nested mappings":   {strings.Repeat("{a: ", 10_000), nil},
		"bomb":              {bomb(), nil},
		"a list":            {"- a\n- b\n", nil},
		"unknown field":     {good + "replicas_count: 1\n", []string{"replicas_count", "replicas", "7:1"}},
		"unknown runtime":   {strings.Replace(good, "native", "navite", 1), []string{"navite", "native", "docker", "4:16"}},
		"duplicate key":     {good + "job_name: other\n", []string{"job_name", "7:1"}},
		"negative":          {good + "requirements: {cpu: -1, memory: -5}\n", []string{"cpu", "memory"}},
		"overflow":          {good + "requirements: {memory: 99999999999999999999999}\n", []string{"memory"}},
		"not a number":      {good + "requirements: {cpu: .nan}\n", []string{"cpu"}},
		"wrong version":     {strings.Replace(good, "v0.1", "v9", 1), []string{"v9", "v0.1", "1:14"}},
		"path in the name":  {strings.Replace(good, "job_name: good", "job_name: ../../etc/passwd", 1), []string{"job_name"}},
		"missing image":     {"api_version: v0.1\njob_name: x\nimage_runtime: native\n", []string{"image"}},
		"all that is wrong": {"api_version: v9\njob_name: 7 7\nimage_runtime: x\n", []string{"api_version", "job_name", "image_runtime", "image:"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tr.In(t)
			path := filepath.Join(t.TempDir(), "job.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"deploy", path}, {"validate", path}, {"job", "explain", path}} {
				r := tr.Ctl(command...)
				want(t, r, 2, tt.texts...)
				if message := r.Stdout + r.Stderr; strings.TrimSpace(message) == "" || len(message) > 20_000 {
					t.Errorf("a message of %d bytes", len(message))
				}
			}
		})
	}
	jobs, err := tr.API().Jobs(t.Context(), api.JobQuery{})
	if err != nil || len(jobs) > 0 {
		t.Errorf("jobs are left: %+v, %v", jobs, err)
	}
}

// The API itself refuses what edgectl would not send, and goes on.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	for name, file := range map[string]string{
		"huge": strings.Repeat("x", 10_000_000), "bomb": bomb(), "nested": strings.Repeat("[", 60_000), "zeros": strings.Repeat("\x00", 1000),
	} {
		if _, err := tr.API().Deploy(t.Context(), []byte(file), ""); err == nil || strings.Contains(err.Error(), "internal") {
			t.Errorf("%s: %v", name, err)
		}
	}
	id := tr.Deploy(shell("good", "true"+forever))
	tr.AwaitState(id, job.Running)
}

// Images that cannot be run make a job fail with the reason.
func TestBadImages(t *testing.T) {
	t.Parallel()
	tr, _, n := garching(t)
	dir := tr.path("jobs")
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "just text", 0o644)
	script := write("script", "#!/bin/sh\nexit 0\n", 0o755)
	lost := write("lost", "#!/no/such/interpreter\n", 0o755)
	broken := write("broken.tar.gz", "\x1f\x8bthis is no archive", 0o644)
	wrong := sha256.Sum256([]byte("something else"))
	for name, tt := range map[string]struct {
		image, more string
		texts       []string
	}{
		"missing":         {dir + "/missing", "", []string{"missing"}},
		"wrong checksum":  {"file://" + script, "sha256: " + hex.EncodeToString(wrong[:]), []string{"SHA-256", hex.EncodeToString(wrong[:])[:12]}},
		"not executable":  {plain, "", []string{"plain", "execut"}},
		"no interpreter":  {lost, "", []string{"lost"}},
		"a folder":        {dir, "", []string{"folder"}},
		"broken archive":  {"file://" + broken, "command: [x]", []string{"command x", "image"}},
		"nobody's server": {"http://" + FreePort(t, "tcp") + "/image", "", []string{"127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tr.In(t)
			file := fmt.Sprintf("api_version: v0.1\njob_name: bad\nimage: %s\nimage_runtime: native\nrestart: never\n%s\n", tt.image, tt.more)
			r := tr.CtlWith(file, "deploy", "--wait", "--timeout", "25s", "-")
			want(t, r, 1, append(tt.texts, "FAILED")...)
			id := strings.Fields(r.Stdout)[0]
			legal(t, tr.Job(id))
			want(t, tr.Ctl("job", "terminate", "--wait", id), 0)
		})
	}
	if left := processesOf(tr.Dir, tr.Root.PID(), tr.clusters[0].PID(), n.PID()); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(n.Dir, "native", "*")); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
}

// A node whose disk is full says so, keeps what runs, and takes jobs again
// once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	tr := Plant(t, programs)
	c := tr.AddCluster("bavaria", "Garching")
	n := tr.NewNode("tiny")
	if err := os.Mkdir(n.Dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", n.Dir, "tmpfs", 0, "size=2m,mode=711"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	tr.onFelled = append(tr.onFelled, func() error { return syscall.Unmount(n.Dir, 0) })
	// Nothing is kept free, so that placement alone does not keep jobs away.
	conf := tr.path("tiny.yaml")
	if err := os.WriteFile(conf, []byte("reserve: {disk_mb: 0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.argv = append(n.argv, "--config", conf)
	want(t, tr.Exec("edgeagent", "join", c.Link, "--state-dir", n.Dir, "--token", tr.JoinToken(api.JoinNode)), 0)
	tr.StartNode(n)
	before := tr.Deploy(tr.marked("before", "exec sleep 100000"))
	tr.AwaitState(before, job.Running)

	filler := filepath.Join(n.Dir, "filler")
	fill(t, filler)
	during := tr.Deploy(tr.marked("during", "exec sleep 100000", "restart: never"))
	tr.Await("the reason is shown", func() error {
		j := tr.Job(during)
		if b := fmt.Sprintf("%+v", j.Instances); !strings.Contains(b, "no space left") && !strings.Contains(b, "disk") {
			return fmt.Errorf("%s", b)
		}
		return nil
	})
	tr.ranOnce(t, "before")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	after := tr.Deploy(tr.marked("after", "exec sleep 100000"))
	tr.AwaitState(after, job.Running)
	tr.ranOnce(t, "before")
	tr.ranOnce(t, "after")
	want(t, tr.Ctl("job", "terminate", "--wait", during), 0)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
