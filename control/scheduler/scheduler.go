// Package scheduler decides who gets a job: which cluster at the root, which
// node in a cluster. It is pure: candidates and a job in, a choice or one
// reason per rejected candidate out. It knows neither clocks nor networks nor
// who calls it, and the same filters serve both tiers (R13, R15).
package scheduler

import (
	"cmp"
	"slices"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// Kind tells what a candidate is.
type Kind string

// The kinds of candidates.
const (
	Cluster Kind = "cluster"
	Node    Kind = "node"
)

// Resources are amounts that are free or asked for.
type Resources struct {
	CPUMillis   int64
	MemoryBytes int64
	DiskBytes   int64
}

// Sub returns r less o.
func (r Resources) Sub(o Resources) Resources {
	return Resources{r.CPUMillis - o.CPUMillis, r.MemoryBytes - o.MemoryBytes, r.DiskBytes - o.DiskBytes}
}

// Add returns the sum.
func (r Resources) Add(o Resources) Resources {
	return Resources{r.CPUMillis + o.CPUMillis, r.MemoryBytes + o.MemoryBytes, r.DiskBytes + o.DiskBytes}
}

// Covers reports whether o fits into r.
func (r Resources) Covers(o Resources) bool {
	return r.CPUMillis >= o.CPUMillis && r.MemoryBytes >= o.MemoryBytes && r.DiskBytes >= o.DiskBytes
}

// Needs are the resources that a job reserves.
func Needs(j *job.Job) Resources {
	return Resources{j.Requirements.CPUMillis(), j.Requirements.MemoryBytes(), j.Requirements.DiskBytes()}
}

// Fit is free room on Count nodes that are alike. A node offers one.
type Fit struct {
	Runtimes []string // sorted
	Arch     string
	Free     Resources
	Devices  []placement.Devices // free on each of the nodes
	Taints   []job.Taint
	Count    int
}

// Candidate is a child that may take a job, as its parent knows it.
type Candidate struct {
	Kind     Kind
	ID       string
	Name     string
	Location string // clusters
	Fits     []Fit  // what is reserved already is taken off
	// Traits are the labels and runtimes; nil: none is known. Shared by
	// candidates of several rounds, so nobody changes them.
	Traits *placement.Traits
	// Names and ids of the nodes below a cluster, for the worker_node wish.
	// If truncated, a name that is not listed may still be there.
	NodeNames          []string
	NodeNamesTruncated bool
	// Refusal is why this candidate cannot be had whatever the job is: it is
	// away, it drains, or it has refused this very instance. Empty if it can.
	Refusal string
}

// Rejection is why a candidate does not take a job.
type Rejection struct {
	Kind   Kind
	ID     string
	Name   string
	Reason string
}

// Strategy chooses one of the candidates that passed the filters, or nil.
// candidates is never empty and must not be changed.
type Strategy func(j *job.Job, candidates []*Candidate) *Candidate

// FirstFit takes the first by name, then id, so that the choice is the same on
// every run (R14).
func FirstFit(_ *job.Job, candidates []*Candidate) *Candidate {
	return slices.MinFunc(candidates, func(a, b *Candidate) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

// Place filters the candidates and lets the strategy choose among those that
// the job likes best. It returns nil and one rejection per candidate if none
// is left.
func Place(j *job.Job, candidates []*Candidate, choose Strategy) (*Candidate, []Rejection) {
	accepting, rejections := Filter(j, candidates)
	if len(accepting) == 0 {
		return nil, rejections
	}
	return choose(j, preferred(j, accepting)), nil
}

// Filter splits the candidates into those that could take the job and those
// that could not, each of these with the first reason that holds (R15).
func Filter(j *job.Job, candidates []*Candidate) (accepting []*Candidate, rejections []Rejection) {
	q := newQuery(j)
	for _, c := range candidates {
		reason := q.reject(c)
		if reason == "" {
			accepting = append(accepting, c)
			continue
		}
		rejections = append(rejections, Rejection{Kind: c.Kind, ID: c.ID, Name: c.Name, Reason: reason})
	}
	return accepting, rejections
}
