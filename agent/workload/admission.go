package workload

import (
	"fmt"
	"slices"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// Resources are amounts of what a node has and jobs require.
type Resources struct {
	CPUMillis   int64
	MemoryBytes int64
	DiskBytes   int64
}

// Minus returns r less o.
func (r Resources) Minus(o Resources) Resources {
	return Resources{r.CPUMillis - o.CPUMillis, r.MemoryBytes - o.MemoryBytes, r.DiskBytes - o.DiskBytes}
}

// Plus returns the sum.
func (r Resources) Plus(o Resources) Resources {
	return Resources{r.CPUMillis + o.CPUMillis, r.MemoryBytes + o.MemoryBytes, r.DiskBytes + o.DiskBytes}
}

// Requirements returns what a job reserves.
func Requirements(j job.Job) Resources {
	return Resources{j.Requirements.CPUMillis(), j.Requirements.MemoryBytes(), j.Requirements.DiskBytes()}
}

// Host is what a node has to offer to workloads.
type Host struct {
	Arch     string // amd64, arm64 or arm
	Capacity Resources
	Devices  []HostDevice
	Labels   map[string]string
	Taints   []job.Taint
}

// taken is what other instances have of the node.
type taken struct {
	resources Resources
	ports     []drivers.Port
	devices   []drivers.Device
}

// admit chooses the devices for a job, or says, in words for the user, why a
// node of which so much is taken does not take it.
func admit(j job.Job, h Host, t taken, infos map[string]drivers.Info) (devices []drivers.Device, reasons []string) {
	no := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }

	traits := placement.Traits{Labels: placement.NodeLabels(h.Labels), Runtimes: map[string]placement.Runtime{}}
	for _, c := range j.Constraints {
		if reason := traits.Unmet(c); reason != "" {
			no("it %s", reason)
		}
	}
	if taint := placement.Untolerated(&j, h.Taints, job.NoSchedule); taint != nil {
		no("it has the taint %s, which the job does not tolerate", taint)
	}
	switch info, known := infos[j.Runtime]; {
	case !known:
		no("it has no runtime %s", j.Runtime)
	case !info.Usable && info.Reason != "":
		no("its runtime %s is not usable: %s", j.Runtime, info.Reason)
	case !info.Usable:
		no("its runtime %s is not usable", j.Runtime)
	default:
		traits.Runtimes[j.Runtime] = placement.Runtime{Version: info.Version, Features: texts(info.Features)}
		if reason := traits.RuntimeLacks(&j); reason != "" {
			no("it %s", reason)
		}
	}
	if j.Arch != "" && j.Arch != h.Arch {
		no("its architecture is %s, not %s", h.Arch, j.Arch)
	}
	devices, missing := allot(j, h.freeDevices(t.devices))
	if missing != nil {
		if _, never := allot(j, h.Devices); never != nil {
			no("it has no %s", never)
		} else {
			no("its %s is in use by another job", missing)
		}
	}
	reasons = append(reasons, tooSmall(Requirements(j), h.Capacity, t.resources)...)
	for _, p := range j.Ports {
		if p.HostPort != 0 && slices.ContainsFunc(t.ports, func(t drivers.Port) bool {
			return t.HostPort == p.HostPort && t.Protocol == protocol(p.Protocol)
		}) {
			no("its port %d/%s is taken by another job", p.HostPort, protocol(p.Protocol))
		}
	}
	return devices, reasons
}

// tooSmall names what there is too little of.
func tooSmall(want, capacity, taken Resources) (reasons []string) {
	no := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	free := capacity.Minus(taken)
	if want.CPUMillis > free.CPUMillis {
		no("%s of %s CPU cores are free, %s are needed", cores(free.CPUMillis), cores(capacity.CPUMillis), cores(want.CPUMillis))
	}
	if want.MemoryBytes > free.MemoryBytes {
		no("%s of %s memory are free, %s are needed", megabytes(free.MemoryBytes), megabytes(capacity.MemoryBytes), megabytes(want.MemoryBytes))
	}
	if want.DiskBytes > free.DiskBytes {
		no("%s of %s disk space are free, %s are needed", megabytes(free.DiskBytes), megabytes(capacity.DiskBytes), megabytes(want.DiskBytes))
	}
	return reasons
}

func texts(features []drivers.Feature) []string {
	out := make([]string, len(features))
	for i, f := range features {
		out[i] = string(f)
	}
	return out
}

func protocol(p string) string {
	if p == "" {
		return "tcp"
	}
	return p
}

func cores(millis int64) string { return fmt.Sprintf("%g", float64(max(millis, 0))/1000) }

func megabytes(b int64) string { return fmt.Sprintf("%d MB", max(b, 0)/1_000_000) }
