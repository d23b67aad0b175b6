package workload

import (
	"slices"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// HostDevice is a device that the node can give to workloads.
type HostDevice struct {
	drivers.Device
	MemoryBytes int64 // of its own
	Shared      bool  // any number of instances may have it at a time
}

// one is the device as placement sees it.
func (d HostDevice) one() placement.Devices {
	return placement.Devices{
		Kind: d.Kind, Vendor: d.Vendor, Model: d.Model, MemoryBytes: d.MemoryBytes, Shared: d.Shared,
		Names: append([]string{d.ID}, d.Paths...), Count: 1,
	}
}

func each(devices []HostDevice) []placement.Devices {
	out := make([]placement.Devices, len(devices))
	for i, d := range devices {
		out[i] = d.one()
	}
	return out
}

// freeDevices are those of the node that nobody has, and those that are shared.
func (h Host) freeDevices(taken []drivers.Device) []HostDevice {
	var out []HostDevice
	for _, d := range h.Devices {
		if d.Shared || !slices.ContainsFunc(taken, func(t drivers.Device) bool { return t.ID == d.ID }) {
			out = append(out, d)
		}
	}
	return out
}

// allot chooses devices for a job among the free ones. If they do not suffice
// it returns the first demand that is left without.
func allot(j job.Job, free []HostDevice) ([]drivers.Device, *placement.Demand) {
	of, missing := placement.Allot(each(free), placement.Demands(j.Requirements))
	if missing != nil {
		return nil, missing
	}
	var out []drivers.Device
	for _, i := range of {
		out = append(out, free[i].Device)
	}
	return out, nil
}

// heldDevices are those that nobody else may have because of the instance.
func (in Instance) heldDevices() []drivers.Device {
	if !in.Reserves() {
		return nil
	}
	return slices.Concat(in.Devices, in.Held)
}

// Bounds of what an offer says of devices.
const (
	maxOfferGroups = 64
	maxOfferNames  = 256
)

// offered puts alike devices together, within bounds: a parent tries what has
// no name in the offer.
func offered(free []HostDevice) []placement.Devices {
	groups := placement.Gather(each(free))
	groups = groups[:min(len(groups), maxOfferGroups)]
	names := 0
	for i := range groups {
		if names += len(groups[i].Names); names > maxOfferNames {
			groups[i].Names, groups[i].Nameless = nil, true
		}
	}
	return groups
}

// SetDevices replaces the devices of the node, as after one was plugged in. An
// instance keeps what it has been given.
func (s *Supervisor) SetDevices(devices []HostDevice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host.Devices = devices
	signal(s.offerC)
}
