package capabilities

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/capabilities/hosttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// host writes a machine of hosttest, and returns it.
func host(t testing.TB, name string) Host {
	t.Helper()
	h := Host{Root: t.TempDir()}
	h.StateDir = h.Root
	if err := hosttest.Write(h.Root, name); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDiscoverFixtures(t *testing.T) {
	for _, name := range hosttest.Names() {
		t.Run(name, func(t *testing.T) {
			if text, err := hosttest.Sources(name); err != nil || len(text) < 80 {
				t.Errorf("its facts come from %q, %v", text, err)
			}
			r := Discover(t.Context(), host(t, name))
			if r.Disk.TotalBytes <= 0 || r.Disk.FreeBytes < 0 || r.Disk.FreeBytes > r.Disk.TotalBytes {
				t.Errorf("disk %+v", r.Disk)
			}
			r.Disk = Disk{} // the test machine's
			if name == "broken" {
				r.Arch = "" // the test's, for want of another
			}
			golden(t, filepath.Join("testdata", name+".json"), struct {
				Report
				Labels map[string]string `json:"labels"`
			}{r, Labels(r)})
		})
	}
}

func golden(t *testing.T, path string, r any) {
	t.Helper()
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestDiscoverThisMachine(t *testing.T) {
	r := Discover(t.Context(), Host{StateDir: t.TempDir()})
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if r.Hostname != hostname || r.Arch != runtime.GOARCH || r.CPU.Cores < 1 || r.CPU.Model == "" ||
		r.Memory.TotalBytes < 1<<26 || r.Kernel == "" || r.BootID == "" || r.OS.ID == "" || len(r.Warnings) > 0 {
		t.Errorf("report of this machine: %+v", r)
	}
}

// A host whose root leads nowhere is a report full of warnings.
func TestDiscoverNothing(t *testing.T) {
	r := Discover(t.Context(), Host{Root: filepath.Join(t.TempDir(), "none")})
	for _, probe := range []string{"cpu", "disk", "identity", "memory", "network", "system"} {
		if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.HasPrefix(w, probe+": ") }) {
			t.Errorf("warnings %q, want one of probe %s", r.Warnings, probe)
		}
	}
}

func TestRelocatedRootIsNotLeft(t *testing.T) {
	if _, err := host(t, "broken").read("etc/os-release"); err == nil {
		t.Error("an absolute link led out of the host root")
	}
}

type probe struct {
	name string
	run  func(context.Context) (func(*Report), error)
}

func (p probe) Name() string { return p.name }
func (p probe) Probe(ctx context.Context, _ Host) (func(*Report), error) {
	return p.run(ctx)
}

func TestBadProbesAreWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		began := time.Now()
		r := discover(t.Context(), Host{}, []Prober{
			probe{"panics", func(context.Context) (func(*Report), error) { panic("oh") }},
			probe{"hangs", func(context.Context) (func(*Report), error) { <-hang; return nil, nil }},
			probe{"fails in part", func(context.Context) (func(*Report), error) {
				return func(r *Report) { r.Hostname = "known" }, errors.New("no more")
			}},
			probe{"is slow", func(context.Context) (func(*Report), error) {
				time.Sleep(probeTimeout / 2) // of the test's own clock
				return func(r *Report) { r.Kernel = "late" }, nil
			}},
		}, probeTimeout)
		want := Report{Hostname: "known", Kernel: "late", Addresses: []string{}, Warnings: []string{
			"fails in part: no more", "hangs: no answer in time", "panics: the probe panicked: oh",
		}}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != probeTimeout {
			t.Errorf("it took %s, want the deadline %s", took, probeTimeout)
		}
	})
}

func TestSample(t *testing.T) {
	dir := t.TempDir()
	write := func(busy, idle int) {
		t.Helper()
		stat := fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\nintr 1 2 3\n", busy, idle)
		err := errors.Join(os.MkdirAll(filepath.Join(dir, "proc"), 0o755),
			os.WriteFile(filepath.Join(dir, "proc/stat"), []byte(stat), 0o644),
			os.WriteFile(filepath.Join(dir, "proc/meminfo"), []byte("MemTotal: 1000 kB\nMemAvailable: 300 kB\n"), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	s := NewSampler(Host{Root: dir})
	for _, step := range []struct {
		busy, idle int
		want       int64
	}{{100, 100, 1000}, {150, 250, 500}, {150, 250, 0}, {350, 250, 2000}, {10, 20, 0}, {20, 20, 2000}} {
		write(step.busy, step.idle)
		u, err := s.Sample(t.Context())
		if err != nil || u.CPUMillis != step.want || u.MemoryBytes != 700<<10 || u.DiskBytes <= 0 {
			t.Errorf("at %d busy, %d idle: %+v, %v; want %d CPU millis", step.busy, step.idle, u, err, step.want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "proc/stat")); err != nil {
		t.Fatal(err)
	}
	if u, err := s.Sample(t.Context()); err == nil || u.MemoryBytes != 700<<10 {
		t.Errorf("without /proc/stat: %+v, %v; want an error and the rest", u, err)
	}
}

func TestNormaliseArch(t *testing.T) {
	for machine, want := range map[string]string{
		"x86_64": "amd64", "aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm", "riscv64": "", "i686": "", "": "",
	} {
		if got := normaliseArch(machine); got != want {
			t.Errorf("%q: %q, want %q", machine, got, want)
		}
	}
}

// seed adds the fixtures' file of this name.
func seed(f *testing.F, file string) {
	for _, name := range []string{"raspberry-pi-zero-w", "cloud-vm", "broken"} {
		if text, err := host(f, name).read(file); err == nil {
			f.Add(text)
		}
	}
}

func FuzzCPUInfo(f *testing.F) {
	seed(f, "proc/cpuinfo")
	f.Add("Processor\t: ARMv6-compatible processor rev 7 (v6l)\nprocessor\t: 0\nmodel name : x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c := parseCPUInfo(text); c.Cores > strings.Count(text, "processor") {
			t.Errorf("%d cores in %q", c.Cores, text)
		}
	})
}

func FuzzMemInfo(f *testing.F) {
	seed(f, "proc/meminfo")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMemInfo(text); err == nil && (m.total <= 0 || m.available < 0 || m.available > m.total) {
			t.Errorf("%+v from %q", m, text)
		}
	})
}

func FuzzStat(f *testing.F) {
	seed(f, "proc/stat")
	f.Fuzz(func(t *testing.T, text string) {
		now, err := parseStat(text)
		if err != nil {
			return
		}
		if used := millis(cpuTicks{}, now); used < 0 || used > int64(now.cores)*1000 {
			t.Errorf("%d millis on %d cores from %q", used, now.cores, text)
		}
	})
}

func FuzzOSRelease(f *testing.F) {
	seed(f, "etc/os-release")
	f.Add("ID='x\nNAME=\"a\\\"b\"\n# ID=y\n")
	f.Fuzz(func(t *testing.T, text string) {
		if os := parseOSRelease(text); strings.Contains(os.ID+os.Name+os.Version, "\n") {
			t.Errorf("%+v from %q", os, text)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	for _, name := range []string{"cloud-vm", "broken"} {
		h := host(f, name)
		v4, _ := h.read("proc/net/fib_trie")
		v6, _ := h.read("proc/net/if_inet6")
		f.Add(v4, v6)
	}
	f.Fuzz(func(t *testing.T, v4, v6 string) {
		for _, a := range addresses(v4, v6) {
			if strings.HasPrefix(a, "127.") || a == "::1" {
				t.Errorf("loopback address %s", a)
			}
		}
	})
}
