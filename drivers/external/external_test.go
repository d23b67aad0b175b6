package external

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/drivers/native"
)

// roleEnv makes this test program a driver program.
const roleEnv = "EDGEIO_TEST_EXTERNAL"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := beProgram(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testMain(m))
}

// programs is the folder where TestMain has put edgedriver-fake, whose
// workloads are in the test's process, and edgedriver-native.
var programs string

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edgeio-external-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, role := range []string{"fake", "native", "mute", "future", "rude", "vain"} {
		script := fmt.Sprintf("#!/bin/sh\nexport %s=%s\nexec %s\n", roleEnv, role, self)
		if err := os.WriteFile(filepath.Join(dir, Prefix+role), []byte(script), 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "edgeshim"), "../cmd/edgeshim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build edgeshim: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// beProgram is what the driver programs do.
func beProgram(role string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch role {
	case "fake":
		path, err := os.ReadFile(filepath.Join(os.Getenv(EnvDir), "host"))
		if err != nil {
			return err
		}
		return Serve(context.Background(), &client{suspect: func() {}, dial: dialer(string(path))})
	case "native":
		d, err := native.New(native.Config{
			Dir:      filepath.Join(os.Getenv(EnvDir), "native"),
			ShimPath: os.Getenv("EDGEIO_TEST_SHIM"), DefaultUser: "root", CgroupParent: "edgeio-test-external",
		}, log)
		if err != nil {
			return err
		}
		return Serve(context.Background(), d)
	case "mute": // never listens
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "future":
		return speak(`{"result":{"hello":{"protocol":2,"name":"future","features":[]}}}` + "\n")
	case "rude":
		return speak("220 mail.example.org ESMTP\r\n")
	case "vain": // talks and dies
		fmt.Fprintln(os.Stderr, "there is no such thing here")
		os.Exit(3)
	}
	return fmt.Errorf("there is no role %s", role)
}

func dialer(socket string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return dial(ctx, socket) }
}

// speak answers everything with one line.
func speak(line string) error {
	l, err := net.Listen("unix", os.Getenv(EnvSocket))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, line)
			_ = conn.Close()
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// hosts has the workloads of the fake driver programs, by their folder.
type hosts struct {
	mu     sync.Mutex
	byDir  map[string]*fake.Host
	script func(drivers.Spec) fake.Script
}

// open starts a fake driver program for the state in dir.
func (hs *hosts) open(t testing.TB, dir string) *Driver {
	t.Helper()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.byDir == nil {
		hs.byDir = map[string]*fake.Host{}
	}
	state := filepath.Join(dir, "state")
	if hs.byDir[dir] == nil {
		host := fake.NewHost(hs.script)
		hs.byDir[dir] = host
		if err := os.MkdirAll(state, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, "host"), []byte(serveHere(t, fake.New(host))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newDriver(t, Config{Path: filepath.Join(programs, Prefix+"fake"), Dir: state})
}

// serveHere serves d from this process until the test ends.
func serveHere(t testing.TB, d drivers.Driver) (socket string) {
	t.Helper()
	short, err := os.MkdirTemp("", "edgeio-h-")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(short, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, d, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		os.RemoveAll(short)
	})
	return socket
}

func newDriver(t testing.TB, cfg Config) *Driver {
	t.Helper()
	d, err := New(cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kill sends a signal to the program.
func (d *Driver) kill(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(int(d.pid.Load()), sig); err != nil {
		t.Errorf("%v to the driver program: %v", sig, err)
	}
}

// freeze stops the program in its tracks, as a hang does.
func (d *Driver) freeze(t testing.TB) {
	t.Helper()
	d.kill(t, syscall.SIGSTOP)
	moving := func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.pid.Load()))
		return slices.ContainsFunc(stats, func(stat string) bool {
			b, _ := os.ReadFile(stat)
			_, after, _ := bytes.Cut(b, []byte(") "))
			return !bytes.HasPrefix(after, []byte("T"))
		})
	}
	// Its threads stop one after the other.
	for deadline := time.Now().Add(20 * time.Second); moving(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the driver program goes on")
		}
	}
}

// fragile is a Driver whose program is killed rather than ended.
type fragile struct {
	*Driver
	t testing.TB
}

func (f fragile) Close() error {
	f.kill(f.t, syscall.SIGKILL)
	return f.Driver.Close()
}
