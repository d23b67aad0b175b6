package drivertest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
)

// zero is the device number of /dev/zero: harmless, and tells whether it can be
// read.
const zero = 1<<8 | 5

// testDevices gives a workload a device of a group of its own, as most devices
// have one, that only the group may open.
func testDevices(s *suite) {
	s.need(drivers.FeatureDevices)
	path := fmt.Sprintf("/dev/edgeio-%s", strings.ToLower(s.marker()))
	if os.Geteuid() != 0 {
		path = "/dev/zero"
	} else {
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o660, zero); err != nil {
			s.Skipf("no device can be made here: %v", err)
		}
		s.Cleanup(func() { _ = os.Remove(path) })
		if err := os.Chown(path, 0, 4711); err != nil {
			s.Fatal(err)
		}
	}
	users := []string{""}
	if slices.Contains(s.h.Features, drivers.FeatureUser) {
		users = append(users, "65534:65534")
	}
	for _, user := range users {
		spec := s.spec(Workload{Kind: Device, Text: path})
		spec.User = user
		spec.Devices = []drivers.Device{{ID: "sensor-test", Kind: "sensor", Paths: []string{path}}}
		h := s.start(spec)
		s.wait(h)
		if got := strings.TrimSpace(s.stdout(h)); got != "4" {
			s.Errorf("as user %q, %s of 4 bytes could be read of %s", user, got, path)
		}
	}
	spec := s.spec(Workload{Kind: Device, Text: path})
	spec.Devices = []drivers.Device{{ID: "sensor-test", Kind: "sensor", Paths: []string{"dev/zero"}}}
	if _, err := s.d.Create(s.ctx, spec, nil); err == nil {
		s.Error("a device with a path that is not absolute was taken")
	}
}
