package external

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

// TestConformancePython is the suite for the example in another language, whose
// program is killed where the suite closes the driver.
func TestConformancePython(t *testing.T) {
	_, err := exec.LookPath("python3")
	drivertest.Require(t, "python3", err == nil, "there is no python3")
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver {
			return fragile{newDriver(t, Config{Path: "example-python/edgedriver-process", Dir: filepath.Join(dir, "state")}), t}
		},
		Spec: func(_ testing.TB, w drivertest.Workload) drivers.Spec {
			command, args := w.Shell()
			return drivers.Spec{Image: drivers.Image{Path: "/bin/sh"}, Command: command, Args: args}
		},
		Features: []drivers.Feature{drivers.FeatureImageFile},
		BadImages: map[string]func(testing.TB) drivers.Spec{
			"missing": func(testing.TB) drivers.Spec { return drivers.Spec{Image: drivers.Image{Path: "/nonexistent"}} },
			"command": func(testing.TB) drivers.Spec {
				return drivers.Spec{Image: drivers.Image{Path: "/bin/sh"}, Command: []string{"/nonexistent"}}
			},
		},
	})
}
