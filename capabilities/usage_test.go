package capabilities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSampleFixtures(t *testing.T) {
	for name, want := range map[string]Usage{
		"raspberry-pi-zero-w": {Load1: 0.10, TemperatureMilliC: 41160, Throttled: []string{"under-voltage", "heat"}},
		"raspberry-pi-4":      {TemperatureMilliC: 48199},
		"jetson-tx2":          {TemperatureMilliC: 36500, Throttled: []string{"heat"}, GPUs: []GPUUsage{{Device: "gpu-platform-igpu", Percent: 37}}},
		"jetson-agx-xavier":   {TemperatureMilliC: 42500, GPUs: []GPUUsage{{Device: "gpu-platform-igpu"}}},
		"jetson-orin-nano":    {TemperatureMilliC: 49875, GPUs: []GPUUsage{{Device: "gpu-platform-igpu", Percent: 12}}},
		"pc-nvidia-intel":     {TemperatureMilliC: 55000, SwapBytes: 604 << 10},
		"server-numa-fpga":    {GPUs: []GPUUsage{{Device: "gpu-pci-0000:5e:00.0", Percent: 37, MemoryBytes: 10 << 20}}},
	} {
		u, err := NewSampler(host(t, name)).Sample(t.Context())
		if err != nil || u.At.IsZero() || u.MemoryBytes <= 0 {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		if diff := cmp.Diff(want, u, cmpopts.IgnoreFields(Usage{}, "At", "CPUMillis", "MemoryBytes", "DiskBytes")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, g := range u.GPUs { // a sample speaks of devices that the report has
			if !hasDevice(Discover(t.Context(), host(t, name)), g.Device) {
				t.Errorf("%s: there is no device %s", name, g.Device)
			}
		}
	}
}

func hasDevice(r Report, id string) bool {
	for _, d := range r.Devices {
		if d.ID == id {
			return true
		}
	}
	return false
}

func TestSampleCounters(t *testing.T) {
	h := host(t, "cloud-vm")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(h.Root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/net/dev", "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  ens5: 1000 1 0 0 0 0 0 0 300 2 0 0 0 0 0 0\n docker0: 7 0 0 0 0 0 0 0 7 0\n")
	write("proc/diskstats", " 259 0 nvme0n1 10 0 100 5 20 0 40 6 0 0 0\n 259 1 nvme0n1p1 10 0 100 5 20 0 40 6 0 0 0\n 7 0 loop0 1 0 9 0 0 0 0 0 0 0 0\n bad\n")
	u, err := NewSampler(h).Sample(t.Context())
	if err != nil || u.NetworkRxBytes != 1000 || u.NetworkTxBytes != 300 || u.DiskReadBytes != 51200 || u.DiskWrittenBytes != 20480 {
		t.Errorf("%+v, %v", u, err)
	}
}

// A counter of x86 tells of heat only when it moves.
func TestThrottleCounter(t *testing.T) {
	h := host(t, "pc-nvidia-intel")
	s := NewSampler(h)
	for _, step := range []struct {
		count string
		want  []string
	}{{"12", nil}, {"12", nil}, {"13", []string{"heat"}}, {"13", nil}, {"x", nil}} {
		file := filepath.Join(h.Root, "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")
		if err := os.WriteFile(file, []byte(step.count+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if u, _ := s.Sample(t.Context()); !cmp.Equal(u.Throttled, step.want) {
			t.Errorf("at %s: %v, want %v", step.count, u.Throttled, step.want)
		}
	}
}
