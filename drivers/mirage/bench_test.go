package mirage

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

// remove ends a workload of a benchmark.
func remove(b *testing.B, d *Driver, h drivers.Handle) {
	b.Helper()
	if err := errors.Join(d.Stop(b.Context(), h, drivers.StopOptions{}), d.Remove(b.Context(), h)); err != nil {
		b.Error(err)
	}
}

// BenchmarkStart measures Create and Start of one unikernel.
func BenchmarkStart(b *testing.B) {
	require(b, solo5.HVT, "kvm")
	d := newDriver(b, Config{})
	spec := save(b, guest.HVT(nil, guest.Print("up\n"), guest.SleepForever()))
	spec.Resources = drivers.Resources{CPUMillis: 100, MemoryBytes: 16 << 20}
	i := 0
	for b.Loop() {
		i++
		spec.ID = fmt.Sprintf("bench-%d", i)
		h, err := d.Create(b.Context(), spec, nil)
		if err == nil {
			err = d.Start(b.Context(), h)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		remove(b, d, h)
		b.StartTimer()
	}
}

// BenchmarkTwoHundred starts 200 unikernels at once, until all of them run.
func BenchmarkTwoHundred(b *testing.B) {
	require(b, solo5.HVT, "kvm")
	d := newDriver(b, Config{})
	spec := save(b, guest.HVT(nil, guest.Print("up\n"), guest.SleepForever()))
	spec.Resources = drivers.Resources{MemoryBytes: 16 << 20}
	for b.Loop() {
		begin := time.Now()
		handles := make([]drivers.Handle, 200)
		var wg sync.WaitGroup
		for i := range handles {
			wg.Go(func() {
				spec := spec
				spec.ID = fmt.Sprintf("bench-%d", i)
				h, err := d.Create(b.Context(), spec, nil)
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
		b.StopTimer()
		for _, h := range handles {
			remove(b, d, h)
		}
		b.StartTimer()
	}
}
