package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	var mu sync.Mutex
	hosts := map[string]*Host{}
	scripts := map[string]Script{}
	drivertest.Run(t, drivertest.Harness{
		Open: func(_ testing.TB, dir string) drivers.Driver {
			mu.Lock()
			defer mu.Unlock()
			if hosts[dir] == nil {
				hosts[dir] = NewHost(func(s drivers.Spec) Script {
					mu.Lock()
					defer mu.Unlock()
					return given(s, scripts[s.Image.Reference])
				})
			}
			return New(hosts[dir])
		},
		Spec: func(_ testing.TB, w drivertest.Workload) drivers.Spec {
			mu.Lock()
			defer mu.Unlock()
			ref := fmt.Sprintf("script-%d", len(scripts))
			scripts[ref] = script(w)
			return drivers.Spec{Image: drivers.Image{Reference: ref}}
		},
		Features: []drivers.Feature{drivers.FeatureDevices, drivers.FeatureImagePull, drivers.FeatureStats},
	})
}

// given lets the workload read of a device that it was given.
func given(s drivers.Spec, sc Script) Script {
	if len(s.Devices) > 0 && len(s.Devices[0].Paths) > 0 {
		sc.Steps = append(sc.Steps, Step{Text: "4\n"})
	}
	return sc
}

// script is what Workload.Shell does, for a runtime without a shell.
func script(w drivertest.Workload) Script {
	ready := Step{Text: "ready\n"}
	switch w.Kind {
	case drivertest.Exit:
		return Script{Code: w.N}
	case drivertest.Lines, drivertest.Streams:
		s := Script{}
		for i := range w.N {
			if w.Kind == drivertest.Lines {
				s.Steps = append(s.Steps, Step{Text: fmt.Sprintf("line %d\n", i+1)})
				continue
			}
			s.Steps = append(s.Steps, Step{Text: fmt.Sprintf("out %d\n", i+1)},
				Step{Text: fmt.Sprintf("err %d\n", i+1), Stream: drivers.Stderr})
		}
		return s
	case drivertest.Device:
		return Script{}
	case drivertest.Text:
		return Script{Steps: []Step{{Text: w.Text}}}
	case drivertest.Fill:
		return Script{Steps: []Step{{Text: strings.Repeat("x", w.N)}}}
	case drivertest.WaitStubborn:
		return Script{Steps: []Step{ready}, Forever: true, Signals: map[string]Reaction{"SIGTERM": {Ignore: true}}}
	case drivertest.WaitPolite:
		return Script{Steps: []Step{ready}, Forever: true, Signals: map[string]Reaction{
			"SIGTERM": {Text: "bye\n", Code: 7}, "SIGUSR1": {Code: 8},
		}}
	case drivertest.WaitShort:
		return Script{Steps: []Step{ready, {After: time.Duration(w.N) * time.Second, Text: "done\n"}}, Code: 5}
	case drivertest.Ticks:
		s := Script{Forever: true}
		for i := range 1000 {
			s.Steps = append(s.Steps, Step{After: 100 * time.Millisecond, Text: fmt.Sprintf("tick %d\n", i+1)})
		}
		return s
	case drivertest.Arguments:
		s := Script{}
		for _, a := range w.Args {
			s.Steps = append(s.Steps, Step{Text: a + "\n--\n"})
		}
		for _, name := range slices.Sorted(maps.Keys(w.Env)) {
			s.Steps = append(s.Steps, Step{Text: w.Env[name] + "\n--\n"})
		}
		return s
	case drivertest.Workdir:
		return Script{Steps: []Step{{Text: "/tmp\n"}}}
	case drivertest.TreeExit:
		return Script{Steps: []Step{ready}, Code: 3}
	default:
		return Script{Steps: []Step{ready}, Forever: true}
	}
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := NewHost(nil)
		d := New(host)
		spec := drivers.Spec{ID: "a", Generation: 1}
		want := errors.New("disk full")
		host.Inject(OpCreate, Fault{Delay: time.Minute, Err: want, Times: 1})
		begin := time.Now()
		if _, err := d.Create(t.Context(), spec, nil); !errors.Is(err, want) || time.Since(begin) != time.Minute {
			t.Errorf("first Create: %v after %v", err, time.Since(begin))
		}
		h, err := d.Create(t.Context(), spec, nil)
		if err != nil {
			t.Fatalf("second Create: %v", err)
		}
		host.Inject(OpStart, Fault{Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Start(ctx, h); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("slow Start: %v", err)
		}
		host.Clear(OpStart)
		if err := d.Start(t.Context(), h); err != nil {
			t.Errorf("Start: %v", err)
		}
	})
}

func TestDownAndReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := NewHost(nil)
		d := New(host)
		h, err := d.Create(t.Context(), drivers.Spec{ID: "a", Generation: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		changes := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = d.Watch(ctx, func() { changes++ })
		}()
		synctest.Wait()
		host.Down("daemon stopped", "start it")
		synctest.Wait()
		if info := d.Probe(t.Context()); info.Usable || info.Remedy != "start it" {
			t.Errorf("Probe while down: %+v", info)
		}
		if _, err := d.Status(t.Context(), h); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Status while down: %v", err)
		}
		host.Up()
		synctest.Wait()
		cancel()
		<-done
		if changes != 2 {
			t.Errorf("%d changes seen, want 2", changes)
		}
		host.Reboot()
		if exit, err := d.Wait(t.Context(), h); err != nil || !exit.Lost || exit.Code != -1 {
			t.Errorf("Wait after a reboot: %+v, %v", exit, err)
		}
	})
}
