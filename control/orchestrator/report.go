package orchestrator

import (
	"context"
	"fmt"
	"time"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// takeReport takes over what a child reports of its assignments, and returns
// once that is stored. What is known already, or is about an assignment that
// the child does not own any more, is passed over: the child need not repeat
// it.
func (c *Core) takeReport(ctx context.Context, childID string, statuses []*pb.InstanceStatus) error {
	c.noteProgress(childID, statuses)
	var news []*pb.InstanceStatus
	c.mu.RLock()
	for _, st := range statuses {
		if in := c.instances.records[st.GetInstanceId()]; in != nil && isNews(in, childID, st) {
			news = append(news, st)
		}
	}
	c.mu.RUnlock()
	if len(news) == 0 {
		return nil
	}
	return c.do(ctx, func(tx *txn) error {
		for _, st := range news {
			in := tx.c.instances.get(st.GetInstanceId())
			if in == nil || !isNews(in, childID, st) {
				continue
			}
			if err := tx.merge(in, st); err != nil {
				return err
			}
		}
		return nil
	})
}

// isNews reports whether the status is about the present assignment and would
// change the record.
func isNews(in *Instance, childID string, st *pb.InstanceStatus) bool {
	if in.ChildID != childID {
		return false
	}
	if in.Generation != st.GetGeneration() {
		return endsUnseen(in, st)
	}
	if in.ChildIncarnation != st.GetIncarnation() || in.Restarts != st.GetRestarts() || in.State == job.Dangling {
		return true
	}
	n := len(st.GetChanges())
	return n > 0 && st.GetChanges()[n-1].GetSeq() > in.ChildSeq || len(st.GetEndpoints()) != len(in.Endpoints)
}

// endsUnseen reports whether the child tells of the end of an earlier
// assignment of an instance that shall end. A child has one assignment of an
// instance at a time, so it has never seen the present one, and will not tell
// of its end.
func endsUnseen(in *Instance, st *pb.InstanceStatus) bool {
	return st.GetGeneration() < in.Generation && job.State(st.GetState()) == job.Terminated &&
		in.Desired == DesiredTerminated && in.State != job.Terminated
}

// merge takes over one status.
func (tx *txn) merge(in *Instance, st *pb.InstanceStatus) error {
	if endsUnseen(in, st) {
		return tx.terminated(in, "it was not begun any more")
	}
	next := *in
	if in.State.Ended() && in.ChildIncarnation != 0 && in.ChildIncarnation != st.GetIncarnation() {
		// The child has lost its memory and begins anew what came to its end
		// long ago: it is told to let go of it.
		next.ChildID = ""
		tx.setInstance(&next)
		return nil
	}
	if next.ChildIncarnation != st.GetIncarnation() {
		next.ChildIncarnation, next.ChildSeq = st.GetIncarnation(), 0
	}
	next.Restarts = st.GetRestarts()
	if st.GetNodeId() != "" {
		next.NodeID, next.NodeName = st.GetNodeId(), st.GetNodeName()
	}
	next.Endpoints = endpointsFromProto(st.GetEndpoints())
	for _, ch := range st.GetChanges() {
		if ch.GetSeq() > next.ChildSeq {
			next.ChildSeq = ch.GetSeq()
			tx.mergeChange(&next, changeFromProto(ch))
		}
	}
	tx.catchUp(&next, job.State(st.GetState()))
	tx.setInstance(&next)
	return tx.followUp(&next)
}

// catchUp brings an instance to the state that its child says it is in where
// no change tells how it came there: the child is connected again, or has
// dropped changes because it had too many to tell.
func (tx *txn) catchUp(in *Instance, state job.State) {
	switch state {
	case job.Requested:
		state = job.ScheduledCluster
	case job.NotDeployable, "": // told by its change; a status need not have a state
		return
	}
	if in.State == state || in.State.Ended() {
		return
	}
	reason := "its changes meanwhile are not known"
	if in.State == job.Dangling {
		reason = "it is connected again"
	} else if !job.CanFollow(in.State, state) && job.CanFollow(in.State, job.Dangling) {
		tx.mergeChange(in, Change{State: job.Dangling, Reason: reason})
	}
	tx.mergeChange(in, Change{State: state, Reason: reason})
}

// mergeChange adds a child's change to the history as far as it is one for
// this tier, too.
func (tx *txn) mergeChange(in *Instance, ch Change) {
	switch ch.State {
	case job.Requested, job.ScheduledCluster:
		// The child is a cluster that looks for another node.
		ch.State = job.ScheduledCluster
	case job.NotDeployable:
		// followUp looks for another child, which makes a history of its own.
		in.Refused = in.withRefusal(in.ChildID, Refusal{Reason: ch.Reason, Nested: ch.Rejections}, tx.now)
		return
	}
	if ch.State == in.State {
		in.Reason = ch.Reason
		if ch.Exit != nil {
			in.Exit = ch.Exit
		}
		return
	}
	if err := tx.move(in, ch); err != nil {
		tx.c.log.Warn("a child reported an impossible change", "instance", in.ID, "child", in.ChildID, "err", err)
	}
}

// followUp does what the new state of an instance asks for.
func (tx *txn) followUp(in *Instance) error {
	if refusal, refused := in.refusedBy(in.ChildID); refused && in.wanted() {
		next, err := tx.unassign(in, fmt.Sprintf("%s cannot take it: %s", tx.childName(in.ChildID), refusal.Reason), nil)
		if err != nil {
			return err
		}
		return tx.place(next)
	}
	switch {
	case in.State == job.Terminated && in.ChildID != "":
		next := *in
		next.ChildID = ""
		tx.setInstance(&next)
	case in.State == job.Running && in.Refused != nil:
		next := *in
		next.Refused = nil
		tx.setInstance(&next)
	}
	return nil
}

// noteProgress keeps the transient part of statuses, which is not stored.
func (c *Core) noteProgress(childID string, statuses []*pb.InstanceStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range statuses {
		in := c.instances.records[st.GetInstanceId()]
		if in == nil || in.ChildID != childID || in.Generation != st.GetGeneration() {
			continue
		}
		if st.GetProgress() == nil {
			delete(c.progress, in.ID)
			continue
		}
		c.progress[in.ID] = st.GetProgress()
		if in.ParentGeneration != 0 {
			c.outbox[in.ID] = struct{}{}
			signal(c.outboxReady)
		}
	}
}

// takeRefusals handles what a child does not take, and what it was asked to
// remove but does not have.
func (c *Core) takeRefusals(ctx context.Context, childID string, refusals []*pb.Refusal, absent []string) error {
	if len(refusals) == 0 && len(absent) == 0 {
		return nil
	}
	return c.do(ctx, func(tx *txn) error {
		for _, r := range refusals {
			in := tx.c.instances.get(r.GetInstanceId())
			if in == nil || in.ChildID != childID || in.Generation != r.GetGeneration() || !in.wanted() {
				continue
			}
			next, err := tx.unassign(in, fmt.Sprintf("%s refused: %s", tx.childName(childID), r.GetReason()),
				&Refusal{Reason: r.GetReason(), Nested: rejectionsFromProto(r.GetRejections())})
			if err != nil {
				return err
			}
			if err := tx.place(next); err != nil {
				return err
			}
		}
		for _, id := range absent {
			in := tx.c.instances.get(id)
			if in == nil || in.ChildID != childID || in.Desired != DesiredTerminated || in.State == job.Terminated {
				continue
			}
			if err := tx.terminated(in, "it was not there any more"); err != nil {
				return err
			}
		}
		return nil
	})
}

// terminated ends an instance that no child holds.
func (tx *txn) terminated(in *Instance, reason string) error {
	next := *in
	if err := tx.move(&next, Change{State: job.Terminated, Reason: reason}); err != nil {
		return err
	}
	next.ChildID = ""
	return nil
}

// noteAway marks a child's instances as DANGLING unless it is back in time.
func (c *Core) noteAway(childID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live[childID] != nil {
		return
	}
	since := c.cfg.Now()
	c.away[childID] = since
	time.AfterFunc(c.cfg.DanglingAfter, func() {
		c.later(func(tx *txn) error {
			c.mu.RLock()
			now, away := c.away[childID]
			c.mu.RUnlock()
			// Back, or back and gone again: then that has a timer of its own.
			if !away || !now.Equal(since) {
				return nil
			}
			return tx.dangle(childID)
		})
	})
}

func (tx *txn) dangle(childID string) error {
	reason := fmt.Sprintf("%s does not answer", tx.childName(childID))
	for _, id := range tx.instancesAt(childID) {
		in := tx.c.instances.get(id)
		if in.State.Ended() || in.State == job.Dangling {
			continue
		}
		next := *in
		if err := tx.move(&next, Change{State: job.Dangling, Reason: reason}); err != nil {
			return err
		}
	}
	return nil
}
