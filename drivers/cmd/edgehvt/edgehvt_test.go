//go:build linux && amd64

package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers/drivertest"
)

// folder is where program puts what it builds; empty until then.
var folder string

// program builds edgehvt once, as it is shipped.
var program = sync.OnceValues(func() (string, error) {
	var err error
	if folder, err = os.MkdirTemp("", "edgehvt"); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "edgehvt")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build edgehvt: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// requireKVM skips or fails the test where /dev/kvm cannot be used.
func requireKVM(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		_ = f.Close()
	}
	drivertest.Require(t, "kvm", err == nil, fmt.Sprint(err))
}

// tender is a started edgehvt.
type tender struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout io.ReadCloser
	stderr bytes.Buffer
}

func save(t testing.TB, image []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs edgehvt; args come in front of the image, after those of the guest.
func start(t testing.TB, image []byte, args []string, after ...string) *tender {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	all := append(append([]string{"--mem=16"}, args...), "--", save(t, image))
	p := &tender{t: t, cmd: exec.CommandContext(ctx, path, append(all, after...)...)}
	p.cmd.Stderr = &p.stderr
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// expect reads so much from the console as text has.
func (p *tender) expect(text string) {
	p.t.Helper()
	got := make([]byte, len(text))
	n, _ := io.ReadFull(p.stdout, got)
	if string(got[:n]) != text {
		p.t.Fatalf("console has %q, want %q", got[:n], text)
	}
}

// wait returns the rest of the console, and the status: 128 + signal if one has ended it.
func (p *tender) wait() (rest string, status int) {
	p.t.Helper()
	text, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return string(text), 128 + int(ws.Signal())
	}
	return string(text), ws.ExitStatus()
}

// status returns a line of /proc/PID/status.
func (p *tender) status(key string) string {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	p.t.Fatalf("/proc/PID/status has no %s", key)
	return ""
}

func (p *tender) rssKiB() int {
	kib, _ := strconv.Atoi(strings.TrimSuffix(p.status("VmRSS"), " kB"))
	return kib
}
