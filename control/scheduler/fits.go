package scheduler

import (
	"cmp"
	"math/bits"
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
	for i := range fits {
		if fits[i].takes(j, needs) && (best < 0 || smaller(fits[i].Free, fits[best].Free)) {
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

// Aggregate reduces the fits of many nodes to at most MaxFits, and promises too
// little rather than too much. Alike places become one. If that is not enough,
// those are kept as they are that no other place of their kind (its runtimes
// and architecture) exceeds in cpu, memory and disk at once, so that whatever
// fits somewhere below fits one of them; of the others, amounts are rounded
// down to be alike, and the smallest are left out.
func Aggregate(fits []Fit) []Fit {
	all := alike(fits)
	if len(all) <= MaxFits {
		return all
	}
	out, rest := frontier(all)
	for i := range rest {
		rest[i].Free = rest[i].Free.roundDown()
	}
	out = append(out, alike(rest)...)
	return out[:min(len(out), MaxFits)]
}

// alike makes one fit of those that differ in nothing but their count, the
// largest first.
func alike(fits []Fit) []Fit {
	type place struct {
		kind string
		free Resources
	}
	seen := make(map[place]int, len(fits))
	names := kindNames{}
	var out []Fit
	for _, f := range fits {
		p := place{names.of(f), f.Free}
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

// kindNames name kinds of nodes: their runtimes and architecture. Neighbours
// are mostly of one kind, so the last name is kept.
type kindNames struct {
	last Fit
	name string
}

func (k *kindNames) of(f Fit) string {
	if k.name == "" || f.Arch != k.last.Arch || !slices.Equal(f.Runtimes, k.last.Runtimes) {
		k.last, k.name = f, f.Arch+"\x00"+strings.Join(f.Runtimes, "\x00")
	}
	return k.name
}

// frontier splits fits, the largest first, into those that no other one of
// their kind covers, and the rest.
func frontier(fits []Fit) (out, rest []Fit) {
	names := kindNames{}
	tops := map[string][]Resources{}
	for _, f := range fits {
		kind := names.of(f)
		if slices.ContainsFunc(tops[kind], func(top Resources) bool { return top.Covers(f.Free) }) {
			rest = append(rest, f)
			continue
		}
		tops[kind] = append(tops[kind], f.Free)
		out = append(out, f)
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
