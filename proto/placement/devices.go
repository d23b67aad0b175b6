package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
)

// Devices are free devices that are alike, or one.
type Devices struct {
	Kind        string
	Vendor      string
	Model       string
	MemoryBytes int64
	Names       []string // ids and paths
	Nameless    bool     // names were left out: any may be among them
	Shared      bool     // does not get used up
	Count       int
}

// Alike reports whether the devices differ in number and names only.
func (d Devices) Alike(o Devices) bool {
	return d.Kind == o.Kind && d.Vendor == o.Vendor && d.Model == o.Model && d.MemoryBytes == o.MemoryBytes && d.Shared == o.Shared
}

// Accelerators are the kinds that jobs ask for by vendor, model and memory.
var accelerators = []string{"gpu", "vpu", "npu", "fpga"}

// IsAccelerator reports whether devices of this kind are asked for by vendor,
// model and memory.
func IsAccelerator(kind string) bool { return slices.Contains(accelerators, kind) }

// Demand is one device that a job needs.
type Demand struct {
	Kind        string
	Vendor      string
	Model       string
	MemoryBytes int64
	Name        string // id or path
}

// Demands lists the devices that a job needs, one by one.
func Demands(r job.Requirements) []Demand {
	var out []Demand
	add := func(n int, d Demand) {
		for range n {
			out = append(out, d)
		}
	}
	for i, a := range []job.Accelerator{r.GPU, r.VPU, r.NPU, r.FPGA} {
		if a == (job.Accelerator{}) {
			continue
		}
		add(max(a.Count, 1), Demand{Kind: accelerators[i], Vendor: a.Vendor, Model: a.Model, MemoryBytes: a.Memory * 1_000_000})
	}
	for _, d := range r.Devices {
		add(max(d.Count, 1), Demand{Kind: d.Kind, Name: d.ID + d.Path})
	}
	return out
}

// String says what is wanted: "gpu of nvidia with 8000 MB".
func (d Demand) String() string {
	if d.Name != "" {
		return "device " + d.Name
	}
	s := d.Kind
	if d.Vendor != "" {
		s += " of " + d.Vendor
	}
	if d.Model != "" {
		s += " " + d.Model
	}
	if d.MemoryBytes > 0 {
		s += fmt.Sprintf(" with %d MB", d.MemoryBytes/1_000_000)
	}
	return s
}

// Suits reports whether each of the devices may be what is wanted.
func (d Demand) Suits(o Devices) bool {
	if d.Name != "" {
		if !o.Nameless {
			return slices.Contains(o.Names, d.Name)
		}
		// The id of a device begins with its kind.
		return strings.HasPrefix(d.Name, "/") || strings.HasPrefix(d.Name, o.Kind+"-")
	}
	return d.Kind == o.Kind && o.MemoryBytes >= d.MemoryBytes && contains(o.Vendor, d.Vendor) && contains(o.Model, d.Model)
}

func contains(text, part string) bool {
	return part == "" || strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// Allot finds a device for each demand, no device twice. It returns the index
// in devices for each; if that cannot be done, the first demand that is left
// without.
func Allot(devices []Devices, demands []Demand) (of []int, missing *Demand) {
	if len(demands) == 0 {
		return nil, nil
	}
	m := matching{devices: devices, demands: demands, of: make([]int, len(demands)), used: make([]int, len(devices))}
	for i := range m.of {
		m.of[i] = -1
	}
	for i := range demands {
		if !m.place(i, make([]bool, len(devices))) {
			return nil, &demands[i]
		}
	}
	return m.of, nil
}

// matching looks for augmenting paths (Kuhn's algorithm): what was allotted
// before moves elsewhere if that makes room.
type matching struct {
	devices []Devices
	demands []Demand
	of      []int // device of each demand; -1: none yet
	used    []int // of each device
}

func (m *matching) place(demand int, tried []bool) bool {
	for d := range m.devices {
		if tried[d] || !m.demands[demand].Suits(m.devices[d]) {
			continue
		}
		tried[d] = true
		if m.used[d] < m.devices[d].Count {
			m.used[d]++
			m.of[demand] = d
			return true
		}
		for other, at := range m.of {
			if at == d && other != demand && m.place(other, tried) {
				m.of[demand] = d // other has left its place to this one
				return true
			}
		}
	}
	return false
}

// Take returns what is left of the devices, and whether all demands are met;
// if not, nothing is taken. The argument is not changed.
func Take(devices []Devices, demands []Demand) (left []Devices, ok bool) {
	of, missing := Allot(devices, demands)
	if missing != nil {
		return devices, false
	}
	if len(of) == 0 {
		return devices, true
	}
	left = slices.Clone(devices)
	for i, d := range of {
		if left[d].Shared {
			continue
		}
		left[d].Count--
		if name := demands[i].Name; name != "" && !left[d].Nameless {
			left[d].Names = slices.DeleteFunc(slices.Clone(left[d].Names), func(n string) bool { return n == name })
		}
	}
	return slices.DeleteFunc(left, func(d Devices) bool { return d.Count == 0 }), true
}

// Gather puts alike devices together.
func Gather(devices []Devices) []Devices {
	var out []Devices
	for _, d := range devices {
		if i := slices.IndexFunc(out, d.Alike); i >= 0 {
			out[i].Count += d.Count
			out[i].Names = append(slices.Clip(out[i].Names), d.Names...)
			out[i].Nameless = out[i].Nameless || d.Nameless
			continue
		}
		out = append(out, d)
	}
	return out
}
