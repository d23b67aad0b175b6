package docker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"

	"github.com/edgeio/edgeio/drivers"
)

func TestNVIDIAsGPUsAreAskedForByNameWhereThatWorks(t *testing.T) {
	gpu := func(n string) drivers.Device {
		return drivers.Device{ID: "gpu-" + n, Kind: "gpu", Paths: []string{"/dev/dri/card" + n, "/dev/nvidia" + n}}
	}
	intel := drivers.Device{ID: "gpu-9", Kind: "gpu", Paths: []string{"/dev/dri/card9"}}
	devices := []drivers.Device{gpu("0"), gpu("1"), intel}
	runtime := map[string]system.RuntimeWithStatus{"nvidia": {}}
	for _, tt := range []struct {
		name     string
		info     system.Info
		requests []container.DeviceRequest
		rest     []drivers.Device
	}{
		{"neither", system.Info{}, nil, devices},
		{"the runtime", system.Info{Runtimes: runtime},
			[]container.DeviceRequest{{Driver: "nvidia", DeviceIDs: []string{"0", "1"}, Capabilities: [][]string{{"gpu"}}}}, []drivers.Device{intel}},
		{"CDI for one", system.Info{Runtimes: runtime, DiscoveredDevices: []system.DeviceInfo{{Source: "cdi", ID: "nvidia.com/gpu=1"}}},
			[]container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=1"}}, {Driver: "nvidia", DeviceIDs: []string{"0"}, Capabilities: [][]string{{"gpu"}}}},
			[]drivers.Device{intel}},
	} {
		requests, rest := deviceRequests(devices, tt.info)
		if diff := cmp.Diff(tt.requests, requests); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.rest, rest); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
