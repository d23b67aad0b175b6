package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// query is a job with what is worked out of it once for all candidates.
type query struct {
	*job.Job
	needs   Resources
	demands []placement.Demand
}

func newQuery(j *job.Job) *query {
	return &query{Job: j, needs: Needs(j), demands: placement.Demands(j.Requirements)}
}

// filters in the order in which their reasons matter to a user: a wish that
// points elsewhere comes before what the candidate lacks.
var filters = []func(*query, *Candidate) string{
	rejectByLocation,
	rejectByNodeName,
	rejectByRefusal,
	rejectByConstraint,
	rejectByFit,
}

func (q *query) reject(c *Candidate) string {
	for _, f := range filters {
		if reason := f(q, c); reason != "" {
			return reason
		}
	}
	return ""
}

// rejectByLocation honours cluster_location: a cluster's name, id or location.
// Inside a cluster the wish is fulfilled, so a caller there leaves it out; a
// node that meets it here is attached to the root and in no cluster.
func rejectByLocation(q *query, c *Candidate) string {
	want := q.ClusterLocation
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

func rejectByNodeName(q *query, c *Candidate) string {
	want := q.WorkerNode
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

func rejectByRefusal(_ *query, c *Candidate) string { return c.Refusal }

func rejectByConstraint(q *query, c *Candidate) string {
	if len(c.Fits) == 0 {
		return "" // there is a better reason
	}
	for _, k := range q.Constraints {
		if reason := c.Traits.Unmet(k); reason != "" {
			return reason
		}
	}
	return ""
}

// takes reports whether the job fits here.
func (q *query) takes(f *Fit) bool {
	if !f.Free.Covers(q.needs) || !q.rightArch(f) || !q.hasRuntime(f) || !q.tolerates(f) {
		return false
	}
	return q.hasDevices(f)
}

func (q *query) rightArch(f *Fit) bool  { return q.Arch == "" || f.Arch == q.Arch }
func (q *query) hasRuntime(f *Fit) bool { return slices.Contains(f.Runtimes, q.Runtime) }
func (q *query) tolerates(f *Fit) bool {
	return placement.Untolerated(q.Job, f.Taints, job.NoSchedule) == nil
}

func (q *query) hasDevices(f *Fit) bool {
	_, missing := placement.Allot(f.Devices, q.demands)
	return missing == nil
}

// rejectByFit looks for a place without a taint that speaks against the job,
// with the runtime, the architecture, the devices and the room, and names the
// first of these that no place has.
func rejectByFit(q *query, c *Candidate) string {
	lacks := c.Traits.RuntimeLacks(q.Job)
	if lacks == "" && slices.ContainsFunc(c.Fits, func(f Fit) bool { return q.takes(&f) }) {
		return ""
	}
	if len(c.Fits) == 0 {
		return "has no node that is ready"
	}
	open := keep(c.Fits, q.tolerates)
	if len(open) == 0 {
		taint := placement.Untolerated(q.Job, c.Fits[0].Taints, job.NoSchedule)
		if c.Kind == Node {
			return fmt.Sprintf("has the taint %s, which the job does not tolerate", taint)
		}
		return fmt.Sprintf("has only nodes with taints that the job does not tolerate, such as %s", taint)
	}
	withRuntime := keep(open, q.hasRuntime)
	if len(withRuntime) == 0 {
		return fmt.Sprintf("has no runtime %q (has %s)", q.Runtime, runtimesOf(open))
	}
	if lacks != "" {
		return lacks
	}
	withArch := keep(withRuntime, q.rightArch)
	if len(withArch) == 0 {
		return fmt.Sprintf("has no %s machine with runtime %q", q.Arch, q.Runtime)
	}
	withDevices := keep(withArch, q.hasDevices)
	if len(withDevices) == 0 {
		return q.missingDevice(withArch)
	}
	return tooSmall(q.needs, withDevices)
}

// missingDevice names a device that no place has; where each alone would be
// there, but never together on one node, it says that.
func (q *query) missingDevice(fits []Fit) string {
	for _, d := range q.demands {
		one := query{demands: []placement.Demand{d}}
		if !slices.ContainsFunc(fits, func(f Fit) bool { return one.hasDevices(&f) }) {
			return fmt.Sprintf("has no %s free", d)
		}
	}
	return fmt.Sprintf("has no single node with all %d devices free that are needed", len(q.demands))
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

func keep(fits []Fit, ok func(*Fit) bool) []Fit {
	var out []Fit
	for i := range fits {
		if ok(&fits[i]) {
			out = append(out, fits[i])
		}
	}
	return out
}
