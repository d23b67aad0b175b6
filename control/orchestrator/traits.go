package orchestrator

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/edgeio/edgeio/control/scheduler"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// Bounds of the labels of an aggregate; a parent tries what may have been left
// out.
const (
	maxLabels    = 1024
	maxLabelText = 48 << 10 // bytes of all together
)

// traitsOf is what is known of a connected child. Called with mu held.
func (l *live) traitsOf(ch *Child) *placement.Traits {
	if l.traits != nil {
		return l.traits
	}
	if ch.Kind == string(scheduler.Node) {
		l.traits = &placement.Traits{Labels: placement.NodeLabels(ch.Labels), Runtimes: runtimeTraits(l.runtimes)}
		return l.traits
	}
	t := &placement.Traits{
		Labels: map[string][]string{}, Truncated: l.offer.GetLabelsTruncated(), Several: true, Runtimes: runtimeTraits(l.offer.GetRuntimes()),
	}
	for _, label := range l.offer.GetLabels() {
		k, v, _ := strings.Cut(label, "=")
		t.Labels[k] = append(t.Labels[k], v)
	}
	l.traits = t
	return t
}

func runtimeTraits(in []*pb.Runtime) map[string]placement.Runtime {
	out := make(map[string]placement.Runtime, len(in))
	for _, r := range in {
		if r.GetUsable() {
			out[r.GetName()] = placement.Runtime{Version: r.GetVersion(), Features: r.GetFeatures()}
		}
	}
	return out
}

// sameTraits reports whether a new offer says the same of the child as the
// one that is known. Called with mu held.
func sameTraits(l *live, offer *pb.Offer, runtimes []*pb.Runtime) bool {
	return l.offer.GetDraining() == offer.GetDraining() && l.offer.GetLabelsTruncated() == offer.GetLabelsTruncated() &&
		slices.Equal(l.offer.GetLabels(), offer.GetLabels()) && sameRuntimes(l.offer.GetRuntimes(), offer.GetRuntimes()) &&
		(runtimes == nil || sameRuntimes(l.runtimes, runtimes))
}

func sameRuntimes(a, b []*pb.Runtime) bool {
	return slices.EqualFunc(a, b, func(x, y *pb.Runtime) bool { return proto.Equal(x, y) })
}

// gathered is what is so on at least one of the nodes below, as an offer has
// it. It does not change any more.
type gathered struct {
	labels    []string
	truncated bool
	runtimes  []*pb.Runtime
}

// gather collects the traits of the children that take jobs. Called with mu held.
func (c *Core) gather() *gathered {
	out := &gathered{}
	labels := map[string]map[string]struct{}{} // values by key
	runtimes := map[string]*pb.Runtime{}
	for id, l := range c.live {
		ch := c.children.records[id]
		if ch == nil || l.offer.GetDraining() {
			continue
		}
		t := l.traitsOf(ch)
		out.truncated = out.truncated || t.Truncated
		for k, values := range t.Labels {
			if labels[k] == nil {
				labels[k] = map[string]struct{}{}
			}
			for _, v := range values {
				labels[k][v] = struct{}{}
			}
		}
		for name, r := range t.Runtimes {
			if runtimes[name] == nil {
				runtimes[name] = &pb.Runtime{Name: name, Usable: true}
			}
			best(runtimes[name], r)
		}
	}
	out.takeLabels(labels)
	for _, name := range slices.Sorted(maps.Keys(runtimes)) {
		slices.Sort(runtimes[name].Features)
		out.runtimes = append(out.runtimes, runtimes[name])
	}
	return out
}

// best adds a runtime of one more node.
func best(to *pb.Runtime, r placement.Runtime) {
	if to.Version == "" || !placement.AtLeast(to.Version, r.Version) {
		to.Version = r.Version
	}
	for _, f := range r.Features {
		if !slices.Contains(to.Features, f) {
			to.Features = append(to.Features, f)
		}
	}
}

// takeLabels keeps as many as the bounds allow. Labels that each node has
// another value of, such as a serial number, are what is left out first.
func (g *gathered) takeLabels(labels map[string]map[string]struct{}) {
	keys := slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(labels[a]), len(labels[b])), cmp.Compare(a, b))
	})
	text := 0
	for _, k := range keys {
		for _, v := range slices.Sorted(maps.Keys(labels[k])) {
			if text += len(k) + len(v); len(g.labels) == maxLabels || text > maxLabelText {
				g.truncated = true
				slices.Sort(g.labels)
				return
			}
			g.labels = append(g.labels, k+"="+v)
		}
	}
	slices.Sort(g.labels)
}

func fitsFromProto(in []*pb.Fit) []scheduler.Fit {
	out := make([]scheduler.Fit, 0, len(in))
	for _, f := range in {
		r := f.GetFree()
		out = append(out, scheduler.Fit{
			Runtimes: f.GetRuntimes(), Arch: f.GetArch(), Count: int(f.GetCount()),
			Free:    scheduler.Resources{CPUMillis: r.GetCpuMillis(), MemoryBytes: r.GetMemoryBytes(), DiskBytes: r.GetDiskBytes()},
			Devices: devicesFromProto(f.GetDevices()), Taints: taintsFromProto(f.GetTaints()),
		})
	}
	return out
}

func fitsToProto(in []scheduler.Fit) []*pb.Fit {
	var out []*pb.Fit
	for _, f := range in {
		fit := &pb.Fit{
			Runtimes: f.Runtimes, Arch: f.Arch, Count: uint32(f.Count),
			Free: &pb.Resources{CpuMillis: f.Free.CPUMillis, MemoryBytes: f.Free.MemoryBytes, DiskBytes: f.Free.DiskBytes},
		}
		for _, d := range f.Devices {
			fit.Devices = append(fit.Devices, &pb.Devices{
				Kind: d.Kind, Vendor: d.Vendor, Model: d.Model, MemoryBytes: d.MemoryBytes, Count: uint32(d.Count),
				Names: d.Names, Nameless: d.Nameless, Shared: d.Shared,
			})
		}
		for _, t := range f.Taints {
			fit.Taints = append(fit.Taints, &pb.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
		}
		out = append(out, fit)
	}
	return out
}

func devicesFromProto(in []*pb.Devices) []placement.Devices {
	var out []placement.Devices
	for _, d := range in {
		out = append(out, placement.Devices{
			Kind: d.GetKind(), Vendor: d.GetVendor(), Model: d.GetModel(), MemoryBytes: d.GetMemoryBytes(), Count: int(d.GetCount()),
			Names: d.GetNames(), Nameless: d.GetNameless(), Shared: d.GetShared(),
		})
	}
	return out
}

func taintsFromProto(in []*pb.Taint) []job.Taint {
	var out []job.Taint
	for _, t := range in {
		out = append(out, job.Taint{Key: t.GetKey(), Value: t.GetValue(), Effect: job.Effect(t.GetEffect())})
	}
	return out
}
