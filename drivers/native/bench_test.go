package native

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

func sleeper(i int) drivers.Spec {
	return drivers.Spec{
		ID: fmt.Sprintf("bench-%d", i), Generation: 1, Image: drivers.Image{Path: "/bin/sleep"}, Args: []string{"1000"},
		User: "root", Resources: drivers.Resources{CPUMillis: 500, MemoryBytes: 64 << 20},
	}
}

// remove ends a workload of a benchmark.
func remove(b *testing.B, d *Driver, h drivers.Handle) {
	b.Helper()
	if err := d.Stop(b.Context(), h, drivers.StopOptions{}); err != nil {
		b.Error(err)
	}
	if err := d.Remove(b.Context(), h); err != nil {
		b.Error(err)
	}
}

// BenchmarkStart measures Create and Start of one workload with limits.
func BenchmarkStart(b *testing.B) {
	d := newDriver(b, Config{Dir: b.TempDir()})
	i := 0
	for b.Loop() {
		i++
		h, err := d.Create(b.Context(), sleeper(i), nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Start(b.Context(), h); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		remove(b, d, h)
		b.StartTimer()
	}
}

// BenchmarkHundred starts 100 workloads at once, has a new Driver adopt them,
// and weighs their shims.
func BenchmarkHundred(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		d := newDriver(b, Config{Dir: dir})
		b.StartTimer()

		begin := time.Now()
		handles := make([]drivers.Handle, 100)
		var wg sync.WaitGroup
		for i := range handles {
			wg.Go(func() {
				h, err := d.Create(b.Context(), sleeper(i), nil)
				if err == nil {
					err = d.Start(b.Context(), h)
				}
				if err != nil {
					b.Error(err)
				}
				handles[i] = h
			})
		}
		wg.Wait()
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms-start-all")

		begin = time.Now()
		again := newDriver(b, Config{Dir: dir})
		found, err := again.List(b.Context())
		if err != nil || len(found) != len(handles) {
			b.Fatalf("List: %d, %v", len(found), err)
		}
		for _, h := range found {
			if st, err := again.Status(b.Context(), h); err != nil || st.Phase != drivers.PhaseRunning {
				b.Fatalf("Status: %+v, %v", st, err)
			}
		}
		b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms-adopt-all")
		b.ReportMetric(shimPSS(b)/float64(len(handles)), "KiB-PSS/shim")
		b.StopTimer()
		for _, h := range handles {
			remove(b, d, h)
		}
		b.StartTimer()
	}
}

// shimPSS sums up the proportional set size of all shims of this test, in KiB.
func shimPSS(b *testing.B) float64 {
	b.Helper()
	sum := 0.0
	for _, proc := range residue() {
		f, err := os.Open(filepath.Join(proc, "smaps_rollup"))
		if err != nil {
			continue // a control group
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var kib float64
			if strings.HasPrefix(s.Text(), "Pss:") {
				if _, err := fmt.Sscanf(s.Text(), "Pss: %f kB", &kib); err != nil {
					b.Error(err)
				}
				sum += kib
			}
		}
		f.Close()
	}
	return sum
}
