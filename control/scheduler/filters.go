package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
)

// filters in the order in which their reasons matter to a user: a wish that
// points elsewhere comes before what the candidate lacks.
var filters = []func(*job.Job, *Candidate) string{
	rejectByLocation,
	rejectByNodeName,
	rejectByRefusal,
	rejectByFit,
}

func reject(j *job.Job, c *Candidate) string {
	for _, f := range filters {
		if reason := f(j, c); reason != "" {
			return reason
		}
	}
	return ""
}

// rejectByLocation honours cluster_location: a cluster's name, id or location.
// Inside a cluster the wish is fulfilled, so a caller there leaves it out; a
// node that meets it here is attached to the root and in no cluster.
func rejectByLocation(j *job.Job, c *Candidate) string {
	want := j.ClusterLocation
	if want == "" {
		return ""
	}
	if c.Kind == Node {
		return fmt.Sprintf("cluster_location asks for %q, this node is in no cluster", want)
	}
	if strings.EqualFold(c.Name, want) || strings.EqualFold(c.Location, want) || c.ID == want {
		return ""
	}
	if c.Location == "" {
		return fmt.Sprintf("cluster_location asks for %q, this is cluster %s without a location", want, c.Name)
	}
	return fmt.Sprintf("cluster_location asks for %q, this is cluster %s in %s", want, c.Name, c.Location)
}

func rejectByNodeName(j *job.Job, c *Candidate) string {
	want := j.WorkerNode
	if want == "" {
		return ""
	}
	is := func(name string) bool { return name == want || strings.EqualFold(name, want) }
	if c.Kind == Node {
		if is(c.Name) || c.ID == want {
			return ""
		}
		return fmt.Sprintf("worker_node asks for %q", want)
	}
	if c.NodeNamesTruncated || slices.ContainsFunc(c.NodeNames, is) {
		return ""
	}
	return fmt.Sprintf("worker_node asks for %q, no such node is connected here", want)
}

func rejectByRefusal(_ *job.Job, c *Candidate) string { return c.Refusal }

// takes reports whether a job with these needs fits here.
func (f *Fit) takes(j *job.Job, needs Resources) bool {
	return f.Free.Covers(needs) && (j.Arch == "" || f.Arch == j.Arch) && slices.Contains(f.Runtimes, j.Runtime)
}

// rejectByFit looks for a place with the runtime, the architecture and the
// room, and names the first of these that no place has.
func rejectByFit(j *job.Job, c *Candidate) string {
	fits, needs := c.Fits, Needs(j)
	for i := range fits {
		if fits[i].takes(j, needs) {
			return ""
		}
	}
	if len(fits) == 0 {
		return "has no node that is ready"
	}
	withRuntime := keep(fits, func(f Fit) bool { return slices.Contains(f.Runtimes, j.Runtime) })
	if len(withRuntime) == 0 {
		return fmt.Sprintf("has no runtime %q (has %s)", j.Runtime, runtimesOf(fits))
	}
	withArch := keep(withRuntime, func(f Fit) bool { return j.Arch == "" || f.Arch == j.Arch })
	if len(withArch) == 0 {
		return fmt.Sprintf("has no %s machine with runtime %q", j.Arch, j.Runtime)
	}
	return tooSmall(needs, withArch)
}

// tooSmall names what is missing. Where each amount alone would be there, but
// never together on one node, it says that.
func tooSmall(needs Resources, fits []Fit) string {
	var most Resources
	for _, f := range fits {
		most.CPUMillis = max(most.CPUMillis, f.Free.CPUMillis)
		most.MemoryBytes = max(most.MemoryBytes, f.Free.MemoryBytes)
		most.DiskBytes = max(most.DiskBytes, f.Free.DiskBytes)
	}
	var missing []string
	if needs.CPUMillis > most.CPUMillis {
		missing = append(missing, fmt.Sprintf("%s cores (%s free)", cores(needs.CPUMillis), cores(most.CPUMillis)))
	}
	if needs.MemoryBytes > most.MemoryBytes {
		missing = append(missing, fmt.Sprintf("%d MB of memory (%d MB free)", needs.MemoryBytes/1e6, most.MemoryBytes/1e6))
	}
	if needs.DiskBytes > most.DiskBytes {
		missing = append(missing, fmt.Sprintf("%d MB of disk (%d MB free)", needs.DiskBytes/1e6, most.DiskBytes/1e6))
	}
	if len(missing) == 0 {
		return "has no single node with enough cpu, memory and disk free together"
	}
	return "needs " + strings.Join(missing, " and ")
}

func cores(millis int64) string {
	s := fmt.Sprintf("%.3f", float64(max(millis, 0))/1000)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

func runtimesOf(fits []Fit) string {
	var all []string
	for _, f := range fits {
		all = append(all, f.Runtimes...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func keep(fits []Fit, ok func(Fit) bool) []Fit {
	var out []Fit
	for _, f := range fits {
		if ok(f) {
			out = append(out, f)
		}
	}
	return out
}
