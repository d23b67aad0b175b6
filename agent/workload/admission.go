package workload

import (
	"fmt"
	"slices"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
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

// Requirements returns what a job reserves.
func Requirements(j job.Job) Resources {
	return Resources{j.Requirements.CPUMillis(), j.Requirements.MemoryBytes(), j.Requirements.DiskBytes()}
}

// Host is what a node has to offer to workloads.
type Host struct {
	Arch     string // amd64, arm64 or arm
	Capacity Resources
}

// refusals says, in words for the user, why a node with so much left does not
// take a job; none means that it does.
func refusals(j job.Job, h Host, free Resources, infos map[string]drivers.Info, taken []drivers.Port) []string {
	var reasons []string
	no := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }

	switch info, known := infos[j.Runtime]; {
	case !known:
		no("it has no runtime %s", j.Runtime)
	case !info.Usable && info.Reason != "":
		no("its runtime %s is not usable: %s", j.Runtime, info.Reason)
	case !info.Usable:
		no("its runtime %s is not usable", j.Runtime)
	}
	if j.Arch != "" && j.Arch != h.Arch {
		no("its architecture is %s, not %s", h.Arch, j.Arch)
	}
	want := Requirements(j)
	if want.CPUMillis > free.CPUMillis {
		no("%s of %s CPU cores are free, %s are needed", cores(free.CPUMillis), cores(h.Capacity.CPUMillis), cores(want.CPUMillis))
	}
	if want.MemoryBytes > free.MemoryBytes {
		no("%s of %s memory are free, %s are needed", megabytes(free.MemoryBytes), megabytes(h.Capacity.MemoryBytes), megabytes(want.MemoryBytes))
	}
	if want.DiskBytes > free.DiskBytes {
		no("%s of %s disk space are free, %s are needed", megabytes(free.DiskBytes), megabytes(h.Capacity.DiskBytes), megabytes(want.DiskBytes))
	}
	for _, p := range j.Ports {
		if p.HostPort != 0 && slices.ContainsFunc(taken, func(t drivers.Port) bool {
			return t.HostPort == p.HostPort && t.Protocol == protocol(p.Protocol)
		}) {
			no("its port %d/%s is taken by another job", p.HostPort, protocol(p.Protocol))
		}
	}
	return reasons
}

func protocol(p string) string {
	if p == "" {
		return "tcp"
	}
	return p
}

func cores(millis int64) string { return fmt.Sprintf("%g", float64(max(millis, 0))/1000) }

func megabytes(b int64) string { return fmt.Sprintf("%d MB", max(b, 0)/1_000_000) }
