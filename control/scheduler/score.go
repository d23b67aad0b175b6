package scheduler

import (
	"math"

	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// taintWeight is what a taint of the effect prefer_no_schedule counts, as much
// as the strongest affinity.
const taintWeight = 100

// preferred returns those of the candidates that have the highest score. They
// all take the job; the strategy decides among them.
func preferred(j *job.Job, candidates []*Candidate) []*Candidate {
	q := newQuery(j)
	best, same := q.score(candidates[0]), true
	for _, c := range candidates[1:] {
		s := q.score(c)
		same = same && s == best
		best = max(best, s)
	}
	if same {
		return candidates
	}
	var out []*Candidate
	for _, c := range candidates {
		if q.score(c) == best {
			out = append(out, c)
		}
	}
	return out
}

// score is the sum of the weights of the affinities that the candidate meets,
// less what its taints count. Of a cluster, each is met if one of its nodes
// may meet it, and the taints are those of the node with the fewest.
func (q *query) score(c *Candidate) int {
	sum := 0
	for _, a := range q.Affinities {
		if c.Traits.Meets(a.Constraint()) {
			weight := a.Weight
			if weight == 0 {
				weight = 1
			}
			sum += weight
		}
	}
	return sum - q.aversion(c)
}

// aversion is what the taints count that the job would rather not have.
func (q *query) aversion(c *Candidate) int {
	if len(c.Fits) == 1 {
		return taintWeight * q.disliked(c.Fits[0].Taints)
	}
	least := math.MaxInt
	for i := range c.Fits {
		if n := q.disliked(c.Fits[i].Taints); n < least && q.takes(&c.Fits[i]) {
			if least = n; n == 0 {
				return 0
			}
		}
	}
	if least == math.MaxInt {
		return 0
	}
	return taintWeight * least
}

// disliked counts the taints that the job would rather not have.
func (q *query) disliked(taints []job.Taint) (n int) {
	for i := range taints {
		if placement.Untolerated(q.Job, taints[i:i+1], job.PreferNoSchedule) != nil {
			n++
		}
	}
	return n
}
