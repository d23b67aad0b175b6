package scheduler

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// MaxFits bounds the fits of an aggregate, however many nodes there are.
const MaxFits = 64

// Reserve takes what a job needs off the smallest fit that could hold it, and
// returns the fits that are left. The argument is not changed. It is how a
// parent accounts for what it has sent but what is not in the child's offer
// yet; for a cluster it is a guess that errs on the full side.
func Reserve(fits []Fit, j *job.Job) []Fit {
	q := newQuery(j)
	best := -1
	for i := range fits {
		if q.takes(&fits[i]) && (best < 0 || smaller(fits[i].Free, fits[best].Free)) {
			best = i
		}
	}
	if best < 0 {
		return fits
	}
	out := slices.Clone(fits)
	f := out[best]
	f.Free, f.Count = f.Free.Sub(q.needs), 1
	f.Devices, _ = placement.Take(f.Devices, q.demands)
	if out[best].Count > 1 {
		out[best].Count--
		return append(out, f)
	}
	out[best] = f
	return out
}

// Aggregate reduces the fits of many nodes to at most MaxFits, and promises too
// little rather than too much. Of devices it says what jobs ask for mostly: of
// accelerators vendor, model and memory, of others their kind, of none the
// names. Alike places become one. If that is not enough, those are kept as they
// are that no other place of their kind (its runtimes, architecture and taints)
// exceeds in cpu, memory, disk and devices at once, so that whatever fits
// somewhere below fits one of them; of the others, amounts are rounded down to
// be alike, and the smallest are left out.
func Aggregate(fits []Fit) []Fit {
	all := alike(summarized(fits))
	if len(all) <= MaxFits {
		return all
	}
	out, rest := frontier(all)
	if len(out) > MaxFits {
		out = oneOfEachFirst(out)
	}
	for i := range rest {
		rest[i].Free = rest[i].Free.roundDown()
	}
	out = append(out, alike(rest)...)
	return out[:min(len(out), MaxFits)]
}

// maxGroups bounds the sorts of devices of a fit in an aggregate.
const maxGroups = 24

// summarized returns the fits with less said of their devices.
func summarized(fits []Fit) []Fit {
	out := slices.Clone(fits)
	for i := range out {
		if len(out[i].Devices) == 0 {
			continue
		}
		var groups []placement.Devices
		for _, d := range out[i].Devices {
			d.Names, d.Nameless = nil, true
			if !placement.IsAccelerator(d.Kind) {
				d.Vendor, d.Model, d.MemoryBytes = "", "", 0
			}
			groups = append(groups, d)
		}
		groups = placement.Gather(groups)
		out[i].Devices = groups[:min(len(groups), maxGroups)]
	}
	return out
}

// oneOfEachFirst puts the largest of each kind with each set of accelerators
// before all others, so that what is rare is not left out.
func oneOfEachFirst(fits []Fit) []Fit {
	names := kindNames{}
	seen := map[string]bool{}
	var first, rest []Fit
	for _, f := range fits {
		key := names.of(f)
		for _, d := range f.Devices {
			if placement.IsAccelerator(d.Kind) {
				key += fmt.Sprintf("\x00%s\x00%s\x00%s", d.Kind, d.Vendor, d.Model)
			}
		}
		if seen[key] {
			rest = append(rest, f)
			continue
		}
		seen[key] = true
		first = append(first, f)
	}
	return append(first, rest...)
}

// alike makes one fit of those that differ in nothing but their count, the
// largest first.
func alike(fits []Fit) []Fit {
	type place struct {
		kind    string
		devices string
		free    Resources
	}
	seen := make(map[place]int, len(fits))
	names := kindNames{}
	var out []Fit
	for _, f := range fits {
		p := place{names.of(f), deviceNames(f.Devices), f.Free}
		if i, ok := seen[p]; ok {
			out[i].Count += f.Count
			continue
		}
		seen[p] = len(out)
		out = append(out, f)
	}
	slices.SortStableFunc(out, byRoomDescending)
	return out
}

// deviceNames is the same for the same devices in the same order.
func deviceNames(devices []placement.Devices) string {
	if len(devices) == 0 {
		return ""
	}
	var b strings.Builder
	for _, d := range devices {
		fmt.Fprintf(&b, "%q%q%q%d %d%v%v%q", d.Kind, d.Vendor, d.Model, d.MemoryBytes, d.Count, d.Shared, d.Nameless, d.Names)
	}
	return b.String()
}

// kindNames name kinds of nodes: their runtimes, architecture and taints.
// Neighbours are mostly of one kind, so the last name is kept.
type kindNames struct {
	last Fit
	name string
}

func (k *kindNames) of(f Fit) string {
	if k.name == "" || f.Arch != k.last.Arch || !slices.Equal(f.Runtimes, k.last.Runtimes) || !slices.Equal(f.Taints, k.last.Taints) {
		k.last, k.name = f, f.Arch+"\x00"+strings.Join(f.Runtimes, "\x00")
		for _, t := range f.Taints {
			k.name += "\x00" + t.String()
		}
	}
	return k.name
}

// covers reports whether whatever fits into o fits into f, which is of its kind.
func (f *Fit) covers(o *Fit) bool {
	if !f.Free.Covers(o.Free) {
		return false
	}
	for _, d := range o.Devices {
		i := slices.IndexFunc(f.Devices, d.Alike)
		if i < 0 || f.Devices[i].Count < d.Count {
			return false
		}
	}
	return true
}

// frontier splits fits, the largest first, into those that no other one of
// their kind covers, and the rest.
func frontier(fits []Fit) (out, rest []Fit) {
	names := kindNames{}
	tops := map[string][]*Fit{}
	for i := range fits {
		f := &fits[i]
		kind := names.of(*f)
		if slices.ContainsFunc(tops[kind], func(top *Fit) bool { return top.covers(f) }) {
			rest = append(rest, *f)
			continue
		}
		tops[kind] = append(tops[kind], f)
		out = append(out, *f)
	}
	return out, rest
}

// roundDown keeps the first two binary digits of each amount.
func (r Resources) roundDown() Resources {
	round := func(n int64) int64 {
		if n <= 0 {
			return n
		}
		drop := max(bits.Len64(uint64(n))-2, 0)
		return n >> drop << drop
	}
	return Resources{round(r.CPUMillis), round(r.MemoryBytes), round(r.DiskBytes)}
}

func byRoomDescending(a, b Fit) int {
	return cmp.Or(
		cmp.Compare(b.Free.MemoryBytes, a.Free.MemoryBytes),
		cmp.Compare(b.Free.CPUMillis, a.Free.CPUMillis),
		cmp.Compare(b.Free.DiskBytes, a.Free.DiskBytes),
	)
}

func smaller(a, b Resources) bool {
	return cmp.Or(
		cmp.Compare(a.MemoryBytes, b.MemoryBytes),
		cmp.Compare(a.CPUMillis, b.CPUMillis),
		cmp.Compare(a.DiskBytes, b.DiskBytes),
	) < 0
}
