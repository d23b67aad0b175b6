package capabilities

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Bounds that are promised, on a machine such as a small server.
const (
	maxDiscovery       = 300 * time.Millisecond
	maxDiscoveryMemory = 5 << 20
	maxSampleShare     = 0.001 // of a core, at the usual interval
	usualInterval      = 15 * time.Second
)

// cpuTime is what this process has used of processors.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Processor time rather than that of the clock: the test machine is shared.
func TestDiscoveryIsCheap(t *testing.T) {
	Discover(t.Context(), Host{}) // what is loaded once
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := cpuTime(t)
	Discover(t.Context(), Host{})
	took := cpuTime(t) - began
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; took > maxDiscovery || allocated > maxDiscoveryMemory {
		t.Errorf("it took %s and %d bytes, want at most %s and %d", took, allocated, maxDiscovery, maxDiscoveryMemory)
	}
}

func TestSamplingIsCheap(t *testing.T) {
	const rounds = 100
	s := NewSampler(Host{})
	began := cpuTime(t)
	for range rounds {
		if _, err := s.Sample(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	share := float64(cpuTime(t)-began) / rounds / float64(usualInterval)
	if share > maxSampleShare {
		t.Errorf("sampling takes %.4f of a core, want at most %.4f", share, maxSampleShare)
	}
}

func BenchmarkDiscover(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Discover(b.Context(), Host{})
	}
}

func BenchmarkSample(b *testing.B) {
	b.ReportAllocs()
	s := NewSampler(Host{})
	for b.Loop() {
		if _, err := s.Sample(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
