package capabilities

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jaypipes/ghw"
	"github.com/jaypipes/ghw/pkg/snapshot"
	"github.com/shirou/gopsutil/v3/mem"
)

// A snapshot that ghw makes, packs and unpacks is a host root: it lacks much
// of what we read, but what it has is found as ghw itself finds it.
func TestGHWSnapshot(t *testing.T) {
	made, packed, root := t.TempDir(), filepath.Join(t.TempDir(), "snapshot.tar.gz"), t.TempDir()
	if err := snapshot.CloneTreeInto(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(made, "sys/bus/pci/devices/0000:03:00.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"class": "0x030000\n", "vendor": "0x10de\n", "device": "0x1eb8\n"} {
		if err := os.WriteFile(filepath.Join(made, "sys/bus/pci/devices/0000:03:00.0", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := snapshot.PackFrom(t.Context(), packed, made); err != nil {
		t.Fatal(err)
	}
	if err := snapshot.UnpackInto(packed, root); err != nil {
		t.Fatal(err)
	}
	r, live := Discover(t.Context(), Host{Root: root}), Discover(t.Context(), Host{})
	if r.CPU.Cores != live.CPU.Cores || r.CPU.Model != live.CPU.Model || r.Memory.TotalBytes != live.Memory.TotalBytes {
		t.Errorf("CPU %+v and memory %+v, want %+v and %+v", r.CPU, r.Memory, live.CPU, live.Memory)
	}
	if !hasDevice(r, "gpu-pci-0000:03:00.0") {
		t.Errorf("devices %+v lack the GPU", r.Devices)
	}
	for _, d := range live.Disks {
		if !slices.ContainsFunc(r.Disks, func(o Drive) bool { return o.Name == d.Name && o.Bytes == d.Bytes }) {
			t.Errorf("disks %+v lack %+v", r.Disks, d)
		}
	}
}

// Others that read the same machine must come to the same.
func TestAgreesWithOthers(t *testing.T) {
	r := Discover(t.Context(), Host{})
	memory, err := mem.VirtualMemoryWithContext(t.Context())
	if err != nil || uint64(r.Memory.TotalBytes) != memory.Total || uint64(r.Memory.SwapBytes) != memory.SwapTotal {
		t.Errorf("memory %+v, gopsutil has %+v, %v", r.Memory, memory, err)
	}
	processor, err := ghw.CPU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int(processor.TotalHardwareThreads) != r.CPU.Cores || r.CPU.Physical > 0 && int(processor.TotalCores) != r.CPU.Physical {
		t.Errorf("CPU %+v, ghw has %d cores, %d threads", r.CPU, processor.TotalCores, processor.TotalHardwareThreads)
	}
	block, err := ghw.Block(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range block.Disks {
		if isDrive(d.Name) && !slices.ContainsFunc(r.Disks, func(o Drive) bool { return o.Name == d.Name && uint64(o.Bytes) == d.SizeBytes }) {
			t.Errorf("disks %+v lack ghw's %s of %d bytes", r.Disks, d.Name, d.SizeBytes)
		}
	}
}
