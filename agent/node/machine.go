package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// Machine is what an agent needs to know of the node that it runs on.
type Machine struct {
	Arch          string // amd64, arm64 or arm
	Cores         int
	MemoryBytes   int64  // in all
	DiskFreeBytes int64  // where the state directory is, when the agent started
	BootID        string // changes with each boot
	Report        []byte // capabilities, JSON
	Devices       []capabilities.Device
	Labels        map[string]string // derived from the report
}

// MachineOf takes from a report what the agent cannot do without.
func MachineOf(r capabilities.Report) (Machine, error) {
	m := Machine{
		Arch: r.Arch, Cores: r.CPU.Cores, MemoryBytes: r.Memory.TotalBytes, DiskFreeBytes: r.Disk.FreeBytes, BootID: r.BootID,
		Devices: r.Devices, Labels: capabilities.Labels(r),
	}
	if m.Arch == "" || m.BootID == "" || m.Cores == 0 || m.MemoryBytes == 0 {
		return m, fmt.Errorf("find out about this machine: architecture %q, boot id %q, %d cores, %d bytes of memory: %w",
			m.Arch, m.BootID, m.Cores, m.MemoryBytes, errors.New("something is missing; is /proc there? see \"edgeagent capabilities\""))
	}
	var err error
	if m.Report, err = json.Marshal(r); err != nil {
		return m, fmt.Errorf("encode the capabilities: %w", err)
	}
	return m, nil
}

// Bounds of what is kept back of the memory if nothing is configured.
const maxMemoryReserve = 512_000_000

// capacity is what the machine offers to jobs.
func (m Machine) capacity(r config.Reserve) workload.Resources {
	memory := r.MemoryMB * 1_000_000
	if r.MemoryMB < 0 {
		memory = min(m.MemoryBytes/10, maxMemoryReserve)
	}
	return workload.Resources{
		CPUMillis:   max(int64(m.Cores)*1000-int64(r.CPU*1000), 0),
		MemoryBytes: max(m.MemoryBytes-memory, 0),
		DiskBytes:   max(m.DiskFreeBytes-r.DiskMB*1_000_000, 0),
	}
}

// devices are what the machine can give to jobs.
func (m Machine) devices(shared []string) []workload.HostDevice {
	out := make([]workload.HostDevice, 0, len(m.Devices))
	for _, d := range m.Devices {
		out = append(out, workload.HostDevice{
			Device:      drivers.Device{ID: d.ID, Kind: string(d.Kind), Vendor: d.Vendor, Model: d.Model, Paths: d.Paths},
			MemoryBytes: d.MemoryBytes,
			Shared:      slices.Contains(shared, d.ID) || slices.Contains(shared, string(d.Kind)),
		})
	}
	return out
}

// labels are the configured ones and those derived from what the machine is.
func (m Machine) labels(configured map[string]string) map[string]string {
	out := maps.Clone(configured)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range m.Labels {
		if job.ValidLabel(k, v) {
			out[k] = v
		}
	}
	return out
}

// addresses are those under which others may reach the node.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			out = append(out, ip.IP.String())
		}
	}
	return out
}
