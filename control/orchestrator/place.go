package orchestrator

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// explainTimeout is how long clusters have to say why none of their nodes
// takes a job.
const explainTimeout = 2 * time.Second

// place assigns the instance to the child that the strategy chooses, and
// reserves the room there. If nobody can take it, it becomes NOT_DEPLOYABLE;
// before that, the clusters among the candidates are asked for their nodes'
// reasons.
func (tx *txn) place(in *Instance) error {
	chosen, rejections := tx.choose(in)
	if chosen != nil {
		return tx.assign(in, chosen)
	}
	full := tx.withNested(in, rejections)
	if in.State == job.Requested && tx.c.anyToAsk(full) {
		id := in.ID
		tx.after = append(tx.after, func() { go tx.c.explainThenGiveUp(id, full) })
		return nil
	}
	return tx.giveUp(in, full)
}

func (tx *txn) choose(in *Instance) (*scheduler.Candidate, []scheduler.Rejection) {
	return scheduler.Place(tx.placementJob(in.parsed), tx.candidatesFor(in), tx.c.cfg.Strategy)
}

// placementJob is the job as the filters here see it: inside a cluster the
// wish for a place is fulfilled.
func (tx *txn) placementJob(j *job.Job) *job.Job {
	if tx.c.cfg.Tier == Root || j.ClusterLocation == "" {
		return j
	}
	k := *j
	k.ClusterLocation = ""
	return &k
}

func (tx *txn) assign(in *Instance, to *scheduler.Candidate) error {
	next := *in
	next.ChildID, next.ChildSeq, next.ChildIncarnation = to.ID, 0, 0
	next.Generation = nextGeneration(in)
	next.Endpoints, next.NodeID, next.NodeName = nil, "", ""
	state, reason := job.ScheduledCluster, fmt.Sprintf("given to cluster %s", to.Name)
	if to.Kind == scheduler.Node {
		state, reason = job.ScheduledNode, fmt.Sprintf("given to node %s", to.Name)
		next.NodeID, next.NodeName = to.ID, to.Name
	}
	if err := tx.move(&next, Change{State: state, Reason: reason}); err != nil {
		return err
	}
	before := to.Fits
	to.Fits = scheduler.Reserve(to.Fits, in.parsed)
	tx.undo = append(tx.undo, func() { to.Fits = before })
	return nil
}

func nextGeneration(in *Instance) uint64 {
	if in.ParentGeneration != 0 {
		return max(in.Generation, in.ParentGeneration) + 1
	}
	return (in.Generation/generationStep + 1) * generationStep
}

// unassign takes an instance away from its child, so that it can be placed
// anew. refusal, if not nil, keeps it from going back there at once.
func (tx *txn) unassign(in *Instance, reason string, refusal *Refusal) (*Instance, error) {
	next := *in
	if refusal != nil {
		next.Refused = in.withRefusal(in.ChildID, *refusal)
	}
	if !job.CanFollow(next.State, job.Requested) && next.State != job.Requested {
		if err := tx.move(&next, Change{State: job.Dangling, Reason: reason}); err != nil {
			return nil, err
		}
	}
	next.ChildID, next.NodeID, next.NodeName, next.Endpoints = "", "", "", nil
	if next.State == job.Requested {
		tx.setInstance(&next)
		return &next, nil
	}
	return &next, tx.move(&next, Change{State: job.Requested, Reason: reason})
}

// giveUp makes the instance NOT_DEPLOYABLE for the reasons given. It is tried
// again when an offer changes.
func (tx *txn) giveUp(in *Instance, rejections []Rejection) error {
	next := *in
	if in.State == job.NotDeployable {
		if reflect.DeepEqual(in.Rejections, rejections) {
			return nil
		}
		next.Rejections, next.Reason = rejections, summary(rejections)
		tx.setInstance(&next)
		return nil
	}
	return tx.move(&next, Change{State: job.NotDeployable, Reason: summary(rejections), Rejections: rejections})
}

// summary is the one-line reason of NOT_DEPLOYABLE.
func summary(rejections []Rejection) string {
	switch len(rejections) {
	case 0:
		return "no cluster or node has joined yet"
	case 1:
		return fmt.Sprintf("%s %s: %s", rejections[0].Kind, rejections[0].Name, rejections[0].Reason)
	}
	parts := make([]string, 0, 3)
	for _, r := range rejections[:min(len(rejections), 3)] {
		parts = append(parts, fmt.Sprintf("%s %s: %s", r.Kind, r.Name, r.Reason))
	}
	if more := len(rejections) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return "nobody can take it: " + strings.Join(parts, "; ")
}

// candidatesFor returns the candidates with what speaks against each of them
// for this instance.
func (tx *txn) candidatesFor(in *Instance) []*scheduler.Candidate {
	if tx.candidates == nil {
		tx.candidates = tx.c.buildCandidates()
	}
	if len(in.Refused) == 0 {
		return tx.candidates
	}
	out := slices.Clone(tx.candidates)
	for i, cand := range out {
		if r, ok := in.Refused[cand.ID]; ok {
			refused := *cand
			refused.Refusal = r.Reason
			out[i] = &refused
		}
	}
	return out
}

// buildCandidates lists all children that are known. Room that was promised
// but is not in an offer yet is taken off.
func (c *Core) buildCandidates() []*scheduler.Candidate {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*scheduler.Candidate, 0, len(c.children.records))
	for _, ch := range c.children.records {
		out = append(out, c.candidate(ch))
	}
	return out
}

func (c *Core) candidate(ch *Child) *scheduler.Candidate {
	cand := &scheduler.Candidate{Kind: scheduler.Kind(ch.Kind), ID: ch.ID, Name: ch.Name, Location: ch.Location}
	l := c.live[ch.ID]
	if l == nil {
		cand.Refusal = "is not connected since " + ch.LastSeen.Format(time.RFC3339)
		return cand
	}
	cand.NodeNames, cand.NodeNamesTruncated = l.offer.GetNodeNames(), l.offer.GetNodeNamesTruncated()
	if l.offer.GetDraining() {
		cand.Refusal = "takes no new jobs: it is being drained"
	}
	cand.Fits = l.freeFits()
	return cand
}

// freeFits is the offer less what was assigned since.
func (l *live) freeFits() []scheduler.Fit {
	fits := fitsFromProto(l.offer.GetFits())
	for _, in := range l.unacked {
		fits = scheduler.Reserve(fits, in.parsed)
	}
	return fits
}

// withNested adds to each rejection what its cluster has said itself.
func (tx *txn) withNested(in *Instance, rejections []scheduler.Rejection) []Rejection {
	out := make([]Rejection, len(rejections))
	for i, r := range rejections {
		nested := in.Refused[r.ID].Nested
		for _, known := range in.Rejections {
			if known.ID == r.ID && known.Reason == r.Reason && nested == nil {
				nested = known.Nested
			}
		}
		out[i] = Rejection{Kind: string(r.Kind), ID: r.ID, Name: r.Name, Reason: r.Reason, Nested: nested}
	}
	slices.SortFunc(out, func(a, b Rejection) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out
}

// anyToAsk reports whether a connected cluster has not given its reasons yet.
func (c *Core) anyToAsk(rejections []Rejection) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.ContainsFunc(rejections, c.shouldAsk)
}

func (c *Core) shouldAsk(r Rejection) bool {
	return r.Kind == string(scheduler.Cluster) && r.Nested == nil && c.live[r.ID] != nil
}

// explainThenGiveUp asks the clusters why, and then gives up, unless a place
// has turned up meanwhile.
func (c *Core) explainThenGiveUp(instanceID string, rejections []Rejection) {
	ctx, cancel := context.WithTimeout(context.Background(), explainTimeout)
	defer cancel()
	in := c.Instance(instanceID)
	if in == nil {
		return
	}
	c.askClusters(ctx, in.Spec, rejections)
	c.later(func(tx *txn) error {
		now := tx.c.instances.get(instanceID)
		if now == nil || !now.unplaced() {
			return nil
		}
		if chosen, _ := tx.choose(now); chosen != nil {
			return tx.assign(now, chosen)
		}
		return tx.giveUp(now, rejections)
	})
}

// askClusters fills in the reasons of the nodes of connected clusters, as far
// as they answer in time.
func (c *Core) askClusters(ctx context.Context, spec []byte, rejections []Rejection) (accepting []string) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	for i := range rejections {
		c.mu.RLock()
		ask := c.shouldAsk(rejections[i])
		c.mu.RUnlock()
		if !ask {
			continue
		}
		wait.Go(func() {
			client, err := c.childClient(rejections[i].ID)
			if err != nil {
				return
			}
			answer, err := client.Explain(ctx, &pb.ExplainRequest{Job: spec})
			if err != nil {
				return
			}
			rejections[i].Nested = rejectionsFromProto(answer.GetRejections())
			mu.Lock()
			accepting = append(accepting, answer.GetAccepting()...)
			mu.Unlock()
		})
	}
	wait.Wait()
	return accepting
}

// retryUnplaced tries all instances again that wait for a place. It is queued
// once, however many reasons there are to try. A child in fresh has made a new
// offer, so what it refused before may be put to it again.
func (c *Core) retryUnplaced(fresh string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unplaced) == 0 {
		return
	}
	if c.retrying && fresh == "" {
		return
	}
	c.retrying = true
	c.later(func(tx *txn) error {
		c.mu.Lock()
		c.retrying = false
		ids := make([]string, 0, len(c.unplaced))
		for id := range c.unplaced {
			ids = append(ids, id)
		}
		c.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			in := tx.c.instances.get(id)
			if in == nil || !in.unplaced() {
				continue
			}
			if _, refused := in.Refused[fresh]; refused {
				next := *in
				next.Refused = in.withRefusal(fresh, Refusal{})
				delete(next.Refused, fresh)
				in = &next
			}
			if err := tx.place(in); err != nil {
				return err
			}
		}
		return nil
	})
}
