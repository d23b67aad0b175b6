package scheduler

import (
	"fmt"
	"testing"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

func labels(kv ...string) func(*Candidate) {
	return func(c *Candidate) {
		c.Traits = &placement.Traits{Labels: map[string][]string{}, Several: c.Kind == Cluster}
		for i := 0; i < len(kv); i += 2 {
			c.Traits.Labels[kv[i]] = append(c.Traits.Labels[kv[i]], kv[i+1])
		}
	}
}

func runtime(version string, features ...string) func(*Candidate) {
	return func(c *Candidate) {
		c.Traits = &placement.Traits{Runtimes: map[string]placement.Runtime{"native": {Version: version, Features: features}}}
	}
}

func devices(d ...placement.Devices) func(*Candidate) {
	return func(c *Candidate) { c.Fits[0].Devices = d }
}

func tainted(taints ...job.Taint) func(*Candidate) {
	return func(c *Candidate) { c.Fits[0].Taints = taints }
}

func asCluster(edit func(*Candidate)) func(*Candidate) {
	return func(c *Candidate) {
		c.Kind = Cluster
		edit(c)
	}
}

func TestFiltersOfWhatNodesAre(t *testing.T) {
	want := func(edit func(*job.Job)) *job.Job {
		j := request(edit)
		j.Normalize()
		return j
	}
	must := func(c ...job.Constraint) *job.Job { return want(func(j *job.Job) { j.Constraints = c }) }
	needs := func(edit func(*job.Requirements)) *job.Job {
		return want(func(j *job.Job) { edit(&j.Requirements) })
	}
	gpus := func(n int) *job.Job { return needs(func(r *job.Requirements) { r.GPU.Count = n }) }
	nvidia := placement.Devices{Kind: "gpu", Vendor: "NVIDIA Corporation", Model: "GeForce RTX 3060", MemoryBytes: 12e9, Count: 1, Names: []string{"gpu-pci-0", "/dev/nvidia0"}}
	intel := placement.Devices{Kind: "gpu", Vendor: "Intel", Count: 1, Names: []string{"gpu-pci-1", "/dev/dri/card0"}}
	camera := placement.Devices{Kind: "camera", Count: 2, Nameless: true}
	isA := job.Constraint{Label: "zone", Values: []string{"a"}}
	notA := job.Constraint{Label: "zone", Operator: job.NotIn, Values: []string{"a"}}
	spare := job.Taint{Key: "spare", Value: "x", Effect: job.NoSchedule}
	for _, tt := range []struct {
		name   string
		job    *job.Job
		to     *Candidate
		reason string
	}{
		{"a label", must(isA), node("n", labels("zone", "a")), ""},
		{"another value", must(isA), node("n", labels("zone", "b")), "does not meet the constraint zone=a: its label is zone=b"},
		{"no such label", must(isA), node("n"), "does not meet the constraint zone=a: it has no label zone"},
		{"must not be", must(notA), node("n", labels("zone", "a")), "does not meet the constraint zone!=a: its label is zone=a"},
		{"must not be, none", must(notA), node("n"), ""},
		{"must not exist", must(job.Constraint{Label: "zone", Operator: job.NotExists}), node("n", labels("zone", "a")), "does not meet the constraint !zone: its label is zone=a"},
		{"must exist", must(job.Constraint{Label: "zone"}), node("n"), "does not meet the constraint zone: it has no label zone"},
		{"one of the nodes", must(isA, notA), cluster("c", asCluster(labels("zone", "a", "zone", "b"))), ""},
		{"none of the nodes", must(isA), cluster("c", asCluster(labels("zone", "b"))), "has no node that meets the constraint zone=a"},
		{"labels left out", must(isA), cluster("c", func(c *Candidate) { c.Traits = &placement.Traits{Truncated: true, Several: true} }), ""},
		{"a constraint before a device", want(func(j *job.Job) {
			j.Constraints, j.Requirements.GPU.Count = []job.Constraint{isA}, 1
		}), node("n"), "does not meet the constraint zone=a: it has no label zone"},
		{"a taint", request(), node("n", tainted(spare)), "has the taint spare=x:no_schedule, which the job does not tolerate"},
		{"a taint of all nodes", request(), cluster("c", tainted(spare)), "has only nodes with taints that the job does not tolerate, such as spare=x:no_schedule"},
		{"tolerated", want(func(j *job.Job) { j.Tolerations = []job.Toleration{{Key: "spare"}} }), node("n", tainted(spare)), ""},
		{"another taint tolerated", want(func(j *job.Job) { j.Tolerations = []job.Toleration{{Key: "spare", Value: "y"}} }), node("n", tainted(spare)),
			"has the taint spare=x:no_schedule, which the job does not tolerate"},
		{"only disliked", request(), node("n", tainted(job.Taint{Key: "spare", Effect: job.PreferNoSchedule})), ""},
		{"a version", needs(func(r *job.Requirements) { r.RuntimeVersion = "20.10" }), node("n", runtime("20.10.24+dfsg1")), ""},
		{"an older version", needs(func(r *job.Requirements) { r.RuntimeVersion = "24.0" }), node("n", runtime("20.10.24")),
			"has no runtime native of version 24.0 or higher: its version is 20.10.24"},
		{"a feature", needs(func(r *job.Requirements) { r.Features = []string{"exec"} }), node("n", runtime("1", "exec")), ""},
		{"no such feature", needs(func(r *job.Requirements) { r.Features = []string{"tty"} }), node("n", runtime("1", "exec")), "has no runtime native with the feature tty"},
		{"a gpu", gpus(1), node("n", devices(intel)), ""},
		{"two gpus", gpus(2), node("n", devices(intel, nvidia)), ""},
		{"three gpus", gpus(3), node("n", devices(intel, nvidia)), "has no single node with all 3 devices free that are needed"},
		{"no gpu", gpus(1), node("n", devices(camera)), "has no gpu free"},
		{"the vendor", needs(func(r *job.Requirements) { r.GPU = job.Accelerator{Vendor: "nvidia", Model: "3060", Memory: 8000} }), node("n", devices(intel, nvidia)), ""},
		{"more memory", needs(func(r *job.Requirements) { r.GPU = job.Accelerator{Vendor: "nvidia", Memory: 24000} }), node("n", devices(nvidia)),
			"has no gpu of nvidia with 24000 MB free"},
		{"what is left for others", needs(func(r *job.Requirements) {
			r.GPU = job.Accelerator{}
			r.Devices = []job.DeviceRequest{{Kind: "gpu"}, {Path: "/dev/dri/card0"}}
		}), node("n", devices(intel, nvidia)), ""},
		{"by a path that is not there", needs(func(r *job.Requirements) { r.Devices = []job.DeviceRequest{{Path: "/dev/video0"}} }), node("n", devices(intel)),
			"has no device /dev/video0 free"},
		{"by a path that may be there", needs(func(r *job.Requirements) { r.Devices = []job.DeviceRequest{{Path: "/dev/video0"}} }), cluster("c", devices(camera)), ""},
		{"by an id of another kind", needs(func(r *job.Requirements) { r.Devices = []job.DeviceRequest{{ID: "gpu-pci-0"}} }), cluster("c", devices(camera)),
			"has no device gpu-pci-0 free"},
		{"devices before room", needs(func(r *job.Requirements) { r.CPU, r.GPU.Count = 100, 1 }), node("n"), "has no gpu free"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, rejections := Place(tt.job, []*Candidate{tt.to}, FirstFit)
			reason := ""
			if len(rejections) > 0 {
				reason = rejections[0].Reason
			}
			if reason != tt.reason {
				t.Errorf("got %q, want %q", reason, tt.reason)
			}
		})
	}
}

func TestAffinitiesComeBeforeTheStrategy(t *testing.T) {
	like := func(weight int, key string, values ...string) job.Affinity {
		return job.Affinity{Label: key, Values: values, Weight: weight}
	}
	dislikes := job.Taint{Key: "old", Effect: job.PreferNoSchedule}
	all := []*Candidate{
		node("a", labels("zone", "x"), tainted(dislikes)), node("b", labels("zone", "x", "disk", "slow")),
		node("c", labels("zone", "y", "disk", "ssd")), node("d", labels("disk", "ssd")), cluster("e", asCluster(labels("zone", "x", "zone", "z"))),
	}
	for _, tt := range []struct {
		name       string
		affinities []job.Affinity
		tolerates  string
		want       string
	}{
		{"a taint is avoided", nil, "", "b"},
		{"unless it is tolerated", nil, "old", "a"},
		{"a wish", []job.Affinity{like(1, "disk", "ssd")}, "", "c"},
		{"the greater wish", []job.Affinity{like(10, "disk", "ssd"), like(20, "zone", "x")}, "", "b"},
		{"two wishes together", []job.Affinity{like(10, "disk", "ssd"), like(10, "zone", "y"), like(15, "zone", "x")}, "", "c"},
		{"what is avoided", []job.Affinity{like(-1, "zone")}, "", "d"},
		{"a cluster that has one", []job.Affinity{like(1, "zone", "z")}, "", "e"},
		{"a taint counts as much as the strongest wish", []job.Affinity{like(50, "zone", "x")}, "", "b"},
		{"nobody has it", []job.Affinity{like(50, "nothing")}, "", "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := request(func(j *job.Job) { j.Affinities = tt.affinities })
			if tt.tolerates != "" {
				j.Tolerations = []job.Toleration{{Key: tt.tolerates}}
			}
			chosen, _ := Place(j, all, FirstFit)
			if chosen == nil || chosen.Name != tt.want {
				t.Errorf("got %+v, want %s", chosen, tt.want)
			}
		})
	}
}

// TestAggregateKeepsWhatIsRare has one small node with a GPU among many large
// ones of all sizes.
func TestAggregateKeepsWhatIsRare(t *testing.T) {
	var fits []Fit
	for i := range 500 {
		fits = append(fits, Fit{Runtimes: []string{"native"}, Arch: "amd64", Free: Resources{int64(100_000 - 10*i), int64(64e9 + 1e6*float64(i)), 1e12}, Count: 1})
	}
	fits = append(fits, Fit{Runtimes: []string{"native"}, Arch: "amd64", Free: Resources{1000, 1e9, 1e9}, Count: 1, Devices: []placement.Devices{{Kind: "gpu", Vendor: "NVIDIA", Count: 1}}})
	sum := Aggregate(fits)
	j := request(func(j *job.Job) { j.Requirements.GPU.Count = 1 })
	if chosen, rejections := Place(j, []*Candidate{{Kind: Cluster, Fits: sum}}, FirstFit); chosen == nil {
		t.Errorf("not in the aggregate: %v", rejections)
	}
	if len(sum) > MaxFits {
		t.Errorf("%d fits", len(sum))
	}
}

func BenchmarkPlaceDevices5000(b *testing.B) {
	all := fleet(5000, node)
	for i, c := range all {
		labels("rack", fmt.Sprint(i%40))(c)
		devices(placement.Devices{Kind: "gpu", Vendor: "NVIDIA", Count: i % 3})(c)
	}
	j := request(func(j *job.Job) {
		j.Requirements.GPU.Count = 2
		j.Affinities = []job.Affinity{{Label: "rack", Values: []string{"7"}, Weight: 1}}
	})
	b.ReportAllocs()
	for b.Loop() {
		Place(j, all, FirstFit)
	}
}
