package mirage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

// programs is where TestMain has built edgeshim and edgehvt.
var programs string

// cgroupParent is for this process alone, so that what another one has left
// behind is nobody's fault here.
var cgroupParent = fmt.Sprintf("edgeio-test-mirage-%d", os.Getpid())

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edgeio-mirage-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	defer func() {
		for _, g := range cgroups("") {
			_ = os.Remove(g)
		}
	}()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "../cmd/edgeshim", "../cmd/edgehvt")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// cgroups finds those of this test.
func cgroups(below string) []string {
	var found []string
	for _, pattern := range []string{cgroupParent, "*/" + cgroupParent} {
		groups, _ := filepath.Glob(filepath.Join(cgroup.DefaultRoot, pattern, below))
		for _, g := range groups {
			if info, err := os.Stat(g); err == nil && info.IsDir() {
				found = append(found, g)
			}
		}
	}
	return found
}

func newDriver(t testing.TB, cfg Config) *Driver {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.ShimPath, cfg.CgroupParent = filepath.Join(programs, "edgeshim"), cgroupParent
	if cfg.EdgeHVT == "" {
		cfg.EdgeHVT = filepath.Join(programs, edgehvt)
	}
	d, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// require skips or fails the test where a target has no tender.
func require(t testing.TB, target solo5.Target, runtime string) {
	t.Helper()
	c := newDriver(t, Config{}).look(t.Context())[target]
	drivertest.Require(t, runtime, c.problem == nil, fmt.Sprint(c.problem))
}

// save writes an image to a file and returns what runs it.
func save(t testing.TB, image []byte) drivers.Spec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return drivers.Spec{ID: strings.ToLower(strings.Trim(filepath.Base(filepath.Dir(path)), "0")) + "x", Generation: 1, Image: drivers.Image{Path: path}}
}

// unsupported is what unikernels do not have.
var unsupported = map[drivertest.Kind]string{
	drivertest.Streams:      "it has one console",
	drivertest.WaitStubborn: "it does not see signals",
	drivertest.WaitPolite:   "it does not see signals",
	drivertest.Arguments:    "it has one command line and no environment",
	drivertest.Workdir:      "it has no files",
	drivertest.UserID:       "it has no users",
	drivertest.Listen:       "the guests of these tests do UDP only; see TestPorts",
	drivertest.Tree:         "it has no processes",
	drivertest.TreeExit:     "it has no processes",
	drivertest.Eat:          "its memory is given once; see TestMemory",
	drivertest.Fork:         "it has no processes",
}

// steps is what a guest does for a workload.
func steps(w drivertest.Workload) []guest.Step {
	lines := func(format string) []guest.Step {
		var b strings.Builder
		for i := range w.N {
			fmt.Fprintf(&b, format, i+1)
		}
		return []guest.Step{guest.Print(b.String())}
	}
	ready := guest.Print("ready\n")
	switch w.Kind {
	case drivertest.Exit:
		return []guest.Step{guest.Exit(uint8(w.N))}
	case drivertest.Lines:
		return lines("line %d\n")
	case drivertest.Text:
		return []guest.Step{guest.Print(w.Text)}
	case drivertest.Fill:
		const piece = 1 << 14
		return []guest.Step{guest.Repeat(uint32(w.N/piece), guest.Print(strings.Repeat("x", piece))), guest.Print(strings.Repeat("x", w.N%piece))}
	case drivertest.Wait:
		return []guest.Step{ready, guest.SleepForever()}
	case drivertest.WaitShort:
		return []guest.Step{ready, guest.Sleep(time.Duration(w.N) * time.Second), guest.Print("done\n"), guest.Exit(5)}
	case drivertest.Ticks:
		var all []guest.Step
		for i := range 300 {
			all = append(all, guest.Print(fmt.Sprintf("tick %d\n", i+1)), guest.Sleep(100*time.Millisecond))
		}
		return append(all, guest.SleepForever())
	case drivertest.Spin:
		return []guest.Step{ready, guest.Spin()}
	}
	panic("no guest for " + string(w.Kind))
}

func TestConformance(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	info := newDriver(t, Config{}).Probe(t.Context())
	drivertest.Require(t, name, info.Usable, info.Reason)
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver {
			return newDriver(t, Config{Dir: filepath.Join(dir, "mirage")})
		},
		Spec: func(t testing.TB, w drivertest.Workload) drivers.Spec {
			return save(t, guest.HVT(nil, steps(w)...))
		},
		Features:    info.Features,
		Unsupported: unsupported,
		BadImages:   badImages,
		Residue:     residue,
	})
}

// residue finds tenders and edgeshims of this test, and control groups.
func residue() []string {
	left := cgroups("*")
	procs, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, p := range procs {
		if target, err := os.Readlink(p); err == nil && filepath.Dir(target) == programs {
			left = append(left, filepath.Dir(p))
		}
	}
	return left
}

var badImages = map[string]func(testing.TB) drivers.Spec{
	"missing": func(testing.TB) drivers.Spec {
		return drivers.Spec{Image: drivers.Image{Path: "/nonexistent/image"}}
	},
	"folder": func(t testing.TB) drivers.Spec { return drivers.Spec{Image: drivers.Image{Path: t.TempDir()}} },
	"text":   func(t testing.TB) drivers.Spec { return save(t, []byte("just some text\n")) },
	"a program": func(testing.TB) drivers.Spec {
		return drivers.Spec{Image: drivers.Image{Path: "/bin/true"}}
	},
	"another machine": func(t testing.TB) drivers.Spec {
		image := guest.HVT(nil, guest.Exit(0))
		image[18], image[19] = 0xb7, 0 // e_machine: AArch64
		return save(t, image)
	},
	"xen": func(t testing.TB) drivers.Spec { return save(t, retarget(solo5.Xen, 1)) },
	"another version of the ABI": func(t testing.TB) drivers.Spec {
		return save(t, retarget(solo5.HVT, 9))
	},
}

// retarget makes an image for another target or version of the ABI.
func retarget(target solo5.Target, version byte) []byte {
	image := guest.HVT(nil, guest.Exit(0))
	note := append([]byte{0x41, 0x42, 0x49, 0x31}, "Solo5\x00"...) // the type of the note, and its owner
	at := bytes.Index(image, note) + 4 + 8
	image[at], image[at+4] = byte(target), version
	return image
}

// run takes a workload through its life and returns its end and its output.
func run(t *testing.T, d *Driver, spec drivers.Spec) (drivers.Exit, string) {
	t.Helper()
	h := start(t, d, spec)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	exit, err := d.Wait(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := d.Logs(ctx, h, drivers.LogOptions{Tail: -1}, func(e drivers.LogEntry) error {
		if e.Stream == drivers.Stdout {
			out.Write(e.Data)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return exit, out.String()
}

func start(t *testing.T, d *Driver, spec drivers.Spec) drivers.Handle {
	t.Helper()
	h, err := d.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(d.Stop(ctx, h, drivers.StopOptions{}), d.Remove(ctx, h)); err != nil {
			t.Error(err)
		}
	})
	if err := d.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return h
}

// waitOutput waits until the console of h has text.
func waitOutput(t *testing.T, d *Driver, h drivers.Handle, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	found := errors.New("found")
	err := d.Logs(ctx, h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
		if e.Stream == drivers.Stdout {
			out.Write(e.Data)
		}
		if strings.Contains(out.String(), text) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Fatalf("no %q in the log: %v, %q", text, err, out.String())
	}
}
