package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

func node(name string, edit ...func(*Candidate)) *Candidate {
	c := &Candidate{Kind: Node, ID: "n-" + name, Name: name, Fits: []Fit{
		{Runtimes: []string{"docker", "native"}, Arch: "amd64", Free: Resources{4000, 4e9, 40e9}, Count: 1},
	}}
	for _, f := range edit {
		f(c)
	}
	return c
}

func cluster(name string, edit ...func(*Candidate)) *Candidate {
	c := node(name, edit...)
	c.Kind, c.ID = Cluster, "c-"+name
	return c
}

func request(edit ...func(*job.Job)) *job.Job {
	j := &job.Job{Name: "web", Runtime: "native", Requirements: job.Requirements{CPU: 1, Memory: 100}}
	for _, f := range edit {
		f(j)
	}
	return j
}

func TestFilters(t *testing.T) {
	location := func(want string) func(*job.Job) { return func(j *job.Job) { j.ClusterLocation = want } }
	wish := func(want string) func(*job.Job) { return func(j *job.Job) { j.WorkerNode = want } }
	in := func(place string) func(*Candidate) { return func(c *Candidate) { c.Location = place } }
	names := func(truncated bool, names ...string) func(*Candidate) {
		return func(c *Candidate) { c.NodeNames, c.NodeNamesTruncated = names, truncated }
	}
	fits := func(fits ...Fit) func(*Candidate) { return func(c *Candidate) { c.Fits = fits } }
	free := func(cpu, memory, disk int64) Fit {
		return Fit{Runtimes: []string{"native"}, Arch: "amd64", Free: Resources{cpu, memory, disk}, Count: 1}
	}
	for _, tt := range []struct {
		name string
		job  *job.Job
		to   *Candidate
		want string // empty: accepted
	}{
		{"a plain job", request(), node("a"), ""},
		{"a location at a node", request(location("Garching")), node("a"), `cluster_location asks for "Garching", this node is in no cluster`},
		{"the location", request(location("garching")), cluster("a", in("Garching")), ""},
		{"the name of the cluster", request(location("A")), cluster("a"), ""},
		{"the id of the cluster", request(location("c-a")), cluster("a"), ""},
		{"another location", request(location("Bonn")), cluster("a", in("Garching")), `cluster_location asks for "Bonn", this is cluster a in Garching`},
		{"no location", request(location("Bonn")), cluster("a"), `cluster_location asks for "Bonn", this is cluster a without a location`},
		{"the node", request(wish("E580")), node("e580"), ""},
		{"the node by id", request(wish("n-a")), node("a"), ""},
		{"another node", request(wish("b")), node("a"), `worker_node asks for "b"`},
		{"a node of the cluster", request(wish("B")), cluster("a", names(false, "b")), ""},
		{"no node of the cluster", request(wish("x")), cluster("a", names(false, "b")), `worker_node asks for "x", no such node is connected here`},
		{"a node that may be there", request(wish("x")), cluster("a", names(true, "b")), ""},
		{"a refusal", request(), node("a", func(c *Candidate) { c.Refusal = "is not connected" }), "is not connected"},
		{"a wish before a refusal", request(wish("b")), node("a", func(c *Candidate) { c.Refusal = "is not connected" }), `worker_node asks for "b"`},
		{"no nodes", request(), cluster("a", fits()), "has no node that is ready"},
		{"no such runtime", request(func(j *job.Job) { j.Runtime = "lxc" }), node("a"), `has no runtime "lxc" (has docker, native)`},
		{"no runtime at all", request(), node("a", fits(Fit{})), `has no runtime "native" (has none)`},
		{"the architecture", request(func(j *job.Job) { j.Arch = "amd64" }), node("a"), ""},
		{"another architecture", request(func(j *job.Job) { j.Arch = "arm64" }), node("a"), `has no arm64 machine with runtime "native"`},
		{"cpu", request(func(j *job.Job) { j.Requirements.CPU = 4.5 }), node("a"), "needs 4.5 cores (4 free)"},
		{"all of it", request(func(j *job.Job) { j.Requirements = job.Requirements{CPU: 5, Memory: 5000, Disk: 50_000} }), node("a"),
			"needs 5 cores (4 free) and 5000 MB of memory (4000 MB free) and 50000 MB of disk (40000 MB free)"},
		{"never together", request(), cluster("a", fits(free(2000, 1e6, 0), free(500, 1e9, 0))),
			"has no single node with enough cpu, memory and disk free together"},
		{"overbooked", request(), node("a", fits(free(-500, 1e9, 1e9))), "needs 1 cores (0 free)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chosen, rejections := Place(tt.job, []*Candidate{tt.to}, FirstFit)
			if tt.want == "" {
				if chosen != tt.to || rejections != nil {
					t.Errorf("rejected: %v", rejections)
				}
				return
			}
			want := Rejection{Kind: tt.to.Kind, ID: tt.to.ID, Name: tt.to.Name, Reason: tt.want}
			if chosen != nil || len(rejections) != 1 || rejections[0] != want {
				t.Errorf("rejections are %+v, want %+v", rejections, want)
			}
		})
	}
}

func TestFirstFitIsTheSameOnEveryRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*Candidate
		for i, name := range rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,2}`), 1, 10).Draw(t, "names") {
			c := node(name)
			c.ID = fmt.Sprintf("n-%d", i)
			all = append(all, c)
		}
		first, _ := Place(request(), all, FirstFit)
		again, _ := Place(request(), rapid.Permutation(all).Draw(t, "order"), FirstFit)
		if first != again {
			t.Fatalf("%s (%s) once, %s (%s) then", first.Name, first.ID, again.Name, again.ID)
		}
		for _, c := range all {
			if c.Name < first.Name {
				t.Fatalf("%s was taken before %s", first.Name, c.Name)
			}
		}
	})
}

// drawFits draws few different amounts, so that nodes are often alike.
func drawFits(t *rapid.T, most int) []Fit {
	kind := rapid.SampledFrom([]Fit{
		{Runtimes: []string{"native"}, Arch: "amd64"}, {Runtimes: []string{"docker", "native"}, Arch: "amd64"}, {Runtimes: []string{"native"}, Arch: "arm64"},
		{Runtimes: []string{"native"}, Arch: "amd64", Taints: []job.Taint{{Key: "spare", Effect: job.NoSchedule}}},
	})
	device := rapid.SampledFrom([]placement.Devices{
		{Kind: "gpu", Vendor: "NVIDIA", Model: "A", MemoryBytes: 8e9, Names: []string{"gpu-0"}}, {Kind: "gpu", Vendor: "Intel", Shared: true},
		{Kind: "camera", Vendor: "a", Names: []string{"/dev/video0"}}, {Kind: "camera", Vendor: "b"},
	})
	fine := rapid.Bool().Draw(t, "fine")
	amount := rapid.Custom(func(t *rapid.T) int64 {
		if fine {
			return rapid.Int64Range(-100, 1e6).Draw(t, "amount")
		}
		return rapid.Int64Range(0, 4).Draw(t, "amount") * 1000
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Fit {
		f := kind.Draw(t, "kind")
		if rapid.Bool().Draw(t, "devices") {
			d := device.Draw(t, "device")
			d.Count = rapid.IntRange(1, 2).Draw(t, "of them")
			f.Devices = []placement.Devices{d}
		}
		f.Free, f.Count = Resources{amount.Draw(t, "cpu"), amount.Draw(t, "memory"), amount.Draw(t, "disk")}, rapid.IntRange(1, 3).Draw(t, "count")
		return f
	}), 0, most).Draw(t, "fits")
}

// demandsOf asks for the devices of a fit, as far as an aggregate tells them.
func demandsOf(f Fit) (out []placement.Demand) {
	for _, d := range f.Devices {
		want := placement.Demand{Kind: d.Kind}
		if placement.IsAccelerator(d.Kind) {
			want = placement.Demand{Kind: d.Kind, Vendor: d.Vendor, Model: d.Model, MemoryBytes: d.MemoryBytes}
		}
		for range d.Count {
			out = append(out, want)
		}
	}
	return out
}

// places counts how often a need, with the devices of like, fits into nodes of
// the kind of like.
func places(fits []Fit, like Fit, needs Resources) (n int) {
	q := query{demands: demandsOf(like)}
	for _, f := range fits {
		if f.Arch == like.Arch && slices.Equal(f.Runtimes, like.Runtimes) && slices.Equal(f.Taints, like.Taints) && f.Free.Covers(needs) && q.hasDevices(&f) {
			n += f.Count
		}
	}
	return n
}

func TestAggregatePromisesWhatThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fits := drawFits(t, 200)
		before := fmt.Sprint(fits)
		sum := Aggregate(fits)
		if fmt.Sprint(fits) != before {
			t.Fatal("the argument was changed")
		}
		if len(sum) > MaxFits {
			t.Fatalf("%d fits", len(sum))
		}
		tops, _ := frontier(alike(summarized(fits)))
		largest := len(tops) <= MaxFits
		for _, f := range fits {
			for _, needs := range []Resources{f.Free, {f.Free.CPUMillis, f.Free.MemoryBytes - 1, f.Free.DiskBytes}} {
				there, promised := places(fits, f, needs), places(sum, f, needs)
				if promised > there {
					t.Fatalf("%d places for %v are promised, there are %d", promised, needs, there)
				}
				if largest && promised == 0 {
					t.Fatalf("%v fits below, but not into the aggregate", needs)
				}
			}
		}
		if len(fits) <= MaxFits {
			for _, f := range fits {
				if there, promised := places(fits, f, f.Free), places(sum, f, f.Free); promised != there {
					t.Fatalf("%d of %d places for %v are promised", promised, there, f.Free)
				}
			}
		}
	})
}

func TestReserveConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fits := drawFits(t, 20)
		j := request(func(j *job.Job) {
			j.Requirements = job.Requirements{CPU: float64(rapid.IntRange(1, 5000).Draw(t, "millis")) / 1000}
			j.Requirements.GPU.Count = rapid.IntRange(0, 2).Draw(t, "gpus")
		})
		gpus := func(fits []Fit) (n int) {
			for _, f := range fits {
				for _, d := range f.Devices {
					if d.Kind == "gpu" && !d.Shared {
						n += d.Count * f.Count
					}
				}
			}
			return n
		}
		total := func(fits []Fit) (sum Resources, count int) {
			for _, f := range fits {
				count += f.Count
				sum.CPUMillis += f.Free.CPUMillis * int64(f.Count)
				sum.MemoryBytes += f.Free.MemoryBytes * int64(f.Count)
				sum.DiskBytes += f.Free.DiskBytes * int64(f.Count)
			}
			return sum, count
		}
		before := fmt.Sprint(fits)
		sum, count := total(fits)
		left := Reserve(fits, j)
		if fmt.Sprint(fits) != before {
			t.Fatal("the argument was changed")
		}
		_, rejections := Place(j, []*Candidate{{Kind: Node, Fits: fits}}, FirstFit)
		if len(rejections) == 0 {
			sum = sum.Sub(Needs(j))
			if used := gpus(fits) - gpus(left); used != 0 && used != j.Requirements.GPU.Count {
				t.Fatalf("%d of %d gpus were taken", used, j.Requirements.GPU.Count)
			}
		}
		if got, n := total(left); got != sum || n != count {
			t.Fatalf("%v in %d places are left, want %v in %d", got, n, sum, count)
		}
		for i, f := range left {
			if f.Free.CPUMillis < 0 && (i >= len(fits) || fits[i].Free.CPUMillis >= 0) {
				t.Fatalf("negative: %v", f)
			}
		}
	})
}

func fleet(n int, kind func(string, ...func(*Candidate)) *Candidate) []*Candidate {
	var out []*Candidate
	for i := range n {
		out = append(out, kind(fmt.Sprintf("node-%05d", i), func(c *Candidate) {
			c.Fits[0].Free.MemoryBytes += int64(i * 7919 % 5000 * 4096)
			c.Fits[0].Free.CPUMillis = int64(1000 + i%8*500)
		}))
	}
	return out
}

func BenchmarkPlace5000(b *testing.B) {
	all := fleet(5000, node)
	for _, bench := range []struct {
		name string
		job  *job.Job
	}{
		{"fits", request()},
		{"wish", request(func(j *job.Job) { j.WorkerNode = "node-04711" })},
		{"nowhere", request(func(j *job.Job) { j.Requirements.CPU = 100 })},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Place(bench.job, all, FirstFit)
			}
		})
	}
}

func BenchmarkAggregate5000(b *testing.B) {
	var fits []Fit
	for _, c := range fleet(5000, node) {
		fits = append(fits, c.Fits...)
	}
	b.ReportAllocs()
	for b.Loop() {
		Aggregate(fits)
	}
}

func TestRejectionsNameEveryCandidate(t *testing.T) {
	all := fleet(50, node)
	_, rejections := Place(request(func(j *job.Job) { j.Requirements.CPU = 100 }), all, FirstFit)
	if len(rejections) != len(all) {
		t.Fatalf("%d rejections of %d candidates", len(rejections), len(all))
	}
	for i, r := range rejections {
		if r.Name != all[i].Name || !strings.HasPrefix(r.Reason, "needs 100 cores") {
			t.Errorf("rejection %+v of %s", r, all[i].Name)
		}
	}
}
