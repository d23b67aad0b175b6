package readme

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const repository = "../.."

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestJobsAreTheSamplesThatTheyName(t *testing.T) {
	jobs := regexp.MustCompile("(?s)<!-- job: (\\S+) -->\n```yaml\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(jobs) == 0 {
		t.Fatal("the README shows no job")
	}
	for _, m := range jobs {
		sample, err := os.ReadFile(filepath.Join(repository, m[1]))
		if err != nil {
			t.Fatal(err)
		}
		if string(sample) != m[2] {
			t.Errorf("the README's job is not %s:\n%s", m[1], m[2])
		}
	}
}

func TestCommandsWork(t *testing.T) {
	blocks := regexp.MustCompile("(?s)<!-- run -->\n```sh\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) == 0 {
		t.Fatal("the README has no commands to run")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("EDGEIO_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	startInstallation(t, dir)
	for _, b := range blocks {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", b[1])
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), "EDGEIO_DEMO_DIR="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s\n%s", err, b[1], out)
		}
		for _, want := range []string{`"name":"batch-native"`, `"runtimes":`, "data: {"} {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("the commands printed no %s:\n%s", want, out)
			}
		}
	}
}

// startInstallation runs edgecontrol dev until the test ends, and stops its jobs.
func startInstallation(t *testing.T, dir string) {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin,
		"./agent/cmd/edgeagent", "./control/cmd/edgecontrol", "./control/cmd/edgectl", "./drivers/cmd/edgeshim")
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(filepath.Join(bin, "edgecontrol"), "dev", "--data-dir", dir, "--stop-jobs")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("edgecontrol dev: %v\n%s", err, stderr.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			return
		}
	}
	t.Fatalf("edgecontrol dev is not ready:\n%s", stderr.String())
}
