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
		tx.after = append(tx.after, func() { tx.c.explainThenGiveUp(tx.ctx, id, full) })
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
		next.Refused = in.withRefusal(in.ChildID, *refusal, tx.now)
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
	reason := summary(rejections)
	rejections = limitRejections(rejections)
	if in.State == job.NotDeployable {
		if reflect.DeepEqual(in.Rejections, rejections) {
			return nil
		}
		next.Rejections, next.Reason = rejections, reason
		tx.setInstance(&next)
		return nil
	}
	return tx.move(&next, Change{State: job.NotDeployable, Reason: reason, Rejections: rejections})
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
	return asRefused(in, tx.allCandidates())
}

func (tx *txn) allCandidates() []*scheduler.Candidate {
	if tx.candidates == nil {
		tx.candidates = tx.c.buildCandidates()
	}
	return tx.candidates
}

func asRefused(in *Instance, candidates []*scheduler.Candidate) []*scheduler.Candidate {
	if len(in.Refused) == 0 {
		return candidates
	}
	out := slices.Clone(candidates)
	for i, cand := range out {
		if r, refused := in.refusedBy(cand.ID); refused && cand.Refusal == "" {
			with := *cand
			with.Refusal = r.Reason
			out[i] = &with
		}
	}
	return out
}

// buildCandidates lists all children that are known. Room that was promised
// but is not in an offer yet is taken off.
func (c *Core) buildCandidates() []*scheduler.Candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	cand.Fits, cand.Traits = l.freeFits(), l.traitsOf(ch)
	return cand
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

// maxAsking bounds how many instances clusters are asked about at a time.
const maxAsking = 16

// explainThenGiveUp asks the clusters why, in the background, and then gives
// up, unless a place has turned up meanwhile. Called by Run's goroutine.
func (c *Core) explainThenGiveUp(ctx context.Context, instanceID string, rejections []Rejection) {
	in := c.Instance(instanceID)
	if _, under := c.explaining[instanceID]; in == nil || under {
		return
	}
	c.explaining[instanceID] = struct{}{}
	c.background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, explainTimeout)
		defer cancel()
		select {
		case c.asking <- struct{}{}:
			c.askClusters(ctx, in.Spec, rejections)
			<-c.asking
		case <-ctx.Done():
		}
		c.later(func(tx *txn) error {
			delete(c.explaining, instanceID)
			now := tx.c.instances.get(instanceID)
			if now == nil || !now.unplaced() {
				return nil
			}
			if chosen, _ := tx.choose(now); chosen != nil {
				return tx.assign(now, chosen)
			}
			return tx.giveUp(now, rejections)
		})
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
			if rejections[i].Reason != "" {
				return // it is not given the job, whatever its nodes would say
			}
			mu.Lock()
			accepting = append(accepting, answer.GetAccepting()...)
			mu.Unlock()
		})
	}
	wait.Wait()
	return accepting
}
