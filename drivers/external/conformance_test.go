package external

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/fake"
)

// TestConformanceFake is the suite for the fake driver as a program, which is
// killed, and not ended, where the suite closes the driver.
func TestConformanceFake(t *testing.T) {
	var mu sync.Mutex
	scripts := map[string]fake.Script{}
	hs := &hosts{script: func(s drivers.Spec) fake.Script {
		mu.Lock()
		defer mu.Unlock()
		return given(s, scripts[s.Image.Reference])
	}}
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver { return fragile{hs.open(t, dir), t} },
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
func given(s drivers.Spec, sc fake.Script) fake.Script {
	if len(s.Devices) > 0 && len(s.Devices[0].Paths) > 0 {
		sc.Steps = append(sc.Steps, fake.Step{Text: "4\n"})
	}
	return sc
}

// script is what Workload.Shell does, for a runtime without a shell.
func script(w drivertest.Workload) fake.Script {
	say := func(texts ...string) (steps []fake.Step) {
		for _, text := range texts {
			steps = append(steps, fake.Step{Text: text})
		}
		return steps
	}
	ready := say("ready\n")
	switch w.Kind {
	case drivertest.Exit:
		return fake.Script{Code: w.N}
	case drivertest.Lines, drivertest.Streams:
		var s fake.Script
		for i := range w.N {
			if w.Kind == drivertest.Lines {
				s.Steps = append(s.Steps, say(fmt.Sprintf("line %d\n", i+1))...)
				continue
			}
			s.Steps = append(s.Steps, fake.Step{Text: fmt.Sprintf("out %d\n", i+1)},
				fake.Step{Text: fmt.Sprintf("err %d\n", i+1), Stream: drivers.Stderr})
		}
		return s
	case drivertest.Device:
		return fake.Script{}
	case drivertest.Text:
		return fake.Script{Steps: say(w.Text)}
	case drivertest.Fill:
		return fake.Script{Steps: say(strings.Repeat("x", w.N))}
	case drivertest.WaitStubborn:
		return fake.Script{Steps: ready, Forever: true, Signals: map[string]fake.Reaction{"SIGTERM": {Ignore: true}}}
	case drivertest.WaitPolite:
		return fake.Script{Steps: ready, Forever: true, Signals: map[string]fake.Reaction{
			"SIGTERM": {Text: "bye\n", Code: 7}, "SIGUSR1": {Code: 8},
		}}
	case drivertest.WaitShort:
		return fake.Script{Steps: append(ready, fake.Step{After: time.Duration(w.N) * time.Second, Text: "done\n"}), Code: 5}
	case drivertest.Ticks:
		s := fake.Script{Forever: true}
		for i := range 1000 {
			s.Steps = append(s.Steps, fake.Step{After: 100 * time.Millisecond, Text: fmt.Sprintf("tick %d\n", i+1)})
		}
		return s
	case drivertest.Arguments:
		var s fake.Script
		for _, a := range w.Args {
			s.Steps = append(s.Steps, say(a+"\n--\n")...)
		}
		for _, name := range slices.Sorted(maps.Keys(w.Env)) {
			s.Steps = append(s.Steps, say(w.Env[name]+"\n--\n")...)
		}
		return s
	case drivertest.Workdir:
		return fake.Script{Steps: say("/tmp\n")}
	case drivertest.TreeExit:
		return fake.Script{Steps: ready, Code: 3}
	default:
		return fake.Script{Steps: ready, Forever: true}
	}
}

// TestConformanceNative is the suite for real processes, with all that crosses
// the protocol: terminals, input, statistics, limits. Its program is killed, too.
func TestConformanceNative(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Setenv("EDGEIO_TEST_SHIM", filepath.Join(programs, "edgeshim"))
	open := func(t testing.TB, dir string) drivers.Driver {
		return fragile{newDriver(t, Config{Path: filepath.Join(programs, Prefix+"native"), Dir: filepath.Join(dir, "state")}), t}
	}
	probe := newDriver(t, Config{Path: filepath.Join(programs, Prefix+"native"), Dir: t.TempDir()})
	info := probe.Probe(t.Context())
	if err := probe.Close(); err != nil {
		t.Error(err)
	}
	drivertest.Require(t, "native", info.Usable, info.Reason)
	drivertest.Run(t, drivertest.Harness{
		Open: open,
		Spec: func(t testing.TB, w drivertest.Workload) drivers.Spec {
			if w.Kind == drivertest.Listen {
				if _, err := os.Stat("/bin/busybox"); err != nil {
					t.Skip("there is no busybox to listen with")
				}
			}
			command, args := w.Shell()
			return drivers.Spec{Image: drivers.Image{Path: "/bin/sh"}, Command: command, Args: args}
		},
		Features: info.Features,
	})
}
