package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/proto/job"
)

// MaxFits bounds the fits of an aggregate, however many nodes there are.
const MaxFits = 64

// Reserve takes a job's needs off the smallest fit that could hold it, and
// returns the fits that are left. The argument is not changed. It is how a
// parent accounts for what it has sent but what is not in the child's offer
// yet; for a cluster it is a guess that errs on the full side.
func Reserve(fits []Fit, j *job.Job) []Fit {
	needs := Needs(j)
	best := -1
	for i, f := range fits {
		if !slices.Contains(f.Runtimes, j.Runtime) || j.Arch != "" && f.Arch != j.Arch || !f.Free.Covers(needs) {
			continue
		}
		if best < 0 || smaller(f.Free, fits[best].Free) {
			best = i
		}
	}
	if best < 0 {
		return fits
	}
	out := slices.Clone(fits)
	f := out[best]
	f.Free, f.Count = f.Free.Sub(needs), 1
	if out[best].Count > 1 {
		out[best].Count--
		return append(out, f)
	}
	out[best] = f
	return out
}

// Aggregate reduces the fits of many nodes to the places that matter to a
// parent: per kind of node (its runtimes and architecture) those that no other
// place of that kind exceeds in cpu, memory and disk at once. Whatever fits
// somewhere below fits one of these, as long as they are not more than
// MaxFits; then the smallest are left out, so that an aggregate promises too
// little, never too much.
func Aggregate(fits []Fit) []Fit {
	kinds := map[string][]Fit{}
	for _, f := range fits {
		k := f.Arch + "\x00" + strings.Join(f.Runtimes, "\x00")
		kinds[k] = append(kinds[k], f)
	}
	var out []Fit
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, frontier(kinds[k])...)
	}
	if len(out) > MaxFits {
		slices.SortStableFunc(out, byRoomDescending)
		out = out[:MaxFits]
	}
	return out
}

// frontier returns the fits that no other one covers, the largest first.
func frontier(fits []Fit) []Fit {
	slices.SortStableFunc(fits, byRoomDescending)
	var out []Fit
next:
	for _, f := range fits {
		for i := range out {
			if out[i].Free == f.Free {
				out[i].Count += f.Count
				continue next
			}
			if out[i].Free.Covers(f.Free) {
				continue next
			}
		}
		out = append(out, f)
	}
	return out
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
