package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// Assignments takes what the parent assigns to this orchestrator in the course
// of one session.
type Assignments struct {
	core *Core

	mu       sync.Mutex
	revision uint64
	synced   bool                // a snapshot has come to its end in this session
	seen     map[string]struct{} // instances of the snapshot in progress
}

// Assignments begins a session with the parent.
func (c *Core) Assignments() *Assignments { return &Assignments{core: c} }

// Apply makes the assignments wanted and places them. What cannot be placed
// is refused with the reasons.
func (a *Assignments) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case req.GetSnapshotBegin():
		a.seen, a.synced = map[string]struct{}{}, false
	case req.GetBaseRevision() != a.revision || (!a.synced && a.seen == nil):
		return nil, link.Error(link.Conflict, "apply revision %d: it is based on %d, but %d is what is here; send a snapshot",
			req.GetRevision(), req.GetBaseRevision(), a.revision)
	}
	resp := &pb.ApplyResponse{}
	err := a.core.do(ctx, func(tx *txn) error { return a.apply(tx, req, resp) })
	if err != nil {
		a.seen, a.synced = nil, false
		return nil, err
	}
	a.revision = req.GetRevision()
	if req.GetSnapshotEnd() {
		a.seen, a.synced = nil, true
	}
	resp.Offer = a.core.Offer()
	return resp, nil
}

func (a *Assignments) apply(tx *txn, req *pb.ApplyRequest, resp *pb.ApplyResponse) error {
	size := 0
	for _, as := range req.GetAssignments() {
		if a.seen != nil {
			a.seen[as.GetInstanceId()] = struct{}{}
		}
		refusal, err := tx.accept(as)
		if err != nil {
			return err
		}
		if refusal != nil {
			if size += proto.Size(refusal); size > maxOutboxBytes {
				refusal.Rejections = nil // the summary is in the reason
			}
			resp.Refusals = append(resp.Refusals, refusal)
		}
	}
	for _, id := range req.GetRemove() {
		in := tx.c.instances.get(id)
		if in == nil || in.State == job.Terminated {
			// One that has ended may be of an earlier generation, whose end
			// the parent does not take for that of the present one.
			resp.Absent = append(resp.Absent, id)
		}
		if in == nil {
			continue
		}
		if a.seen != nil {
			a.seen[id] = struct{}{}
		}
		if err := tx.terminate(in, "terminated by the user"); err != nil {
			return err
		}
	}
	if !req.GetSnapshotEnd() {
		return nil
	}
	for id, in := range tx.c.instances.all() {
		if _, wanted := a.seen[id]; wanted || in.ParentGeneration == 0 {
			continue
		}
		if err := tx.terminate(in, "not wanted here any more"); err != nil {
			return err
		}
	}
	return nil
}

// accept takes an assignment over, or says why not.
func (tx *txn) accept(as *pb.Assignment) (*pb.Refusal, error) {
	refuse := func(format string, args ...any) *pb.Refusal {
		return &pb.Refusal{InstanceId: as.GetInstanceId(), Generation: as.GetGeneration(), Reason: fmt.Sprintf(format, args...)}
	}
	old := tx.c.instances.get(as.GetInstanceId())
	if old != nil && old.ParentGeneration == as.GetGeneration() || old == nil && as.GetEnded() {
		return nil, nil
	}
	if old != nil && old.ParentGeneration > as.GetGeneration() {
		return refuse("there is a newer assignment of it, generation %d", old.ParentGeneration), nil
	}
	in := &Instance{
		ID: as.GetInstanceId(), JobID: as.GetJobId(), Index: as.GetIndex(), Spec: json.RawMessage(as.GetJob()),
		Desired: DesiredRunning, ParentGeneration: as.GetGeneration(), Incarnation: uint64(tx.now.UnixNano()),
	}
	if err := in.parse(); err != nil {
		return refuse("the job cannot be read: %v", err), nil
	}
	chosen, rejections := tx.choose(in)
	if chosen == nil {
		full := tx.withNested(in, rejections)
		r := refuse("%s", summary(full))
		r.Rejections = rejectionsToProto(limitRejections(full))
		return r, nil
	}
	if err := tx.move(in, Change{State: job.Requested, Reason: "given to " + tx.c.cfg.Name}); err != nil {
		return nil, err
	}
	return nil, tx.assign(in, chosen)
}

// maxOutboxBytes bounds one report, so that it stays below the link's limit
// for messages: one status is far smaller than the rest up to that.
const maxOutboxBytes = 1 << 20

// Outbox returns what the parent has not been told yet, at most limit statuses,
// and marks it as being told; OutboxFailed takes that back.
func (c *Core) Outbox(limit int) []*pb.InstanceStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*pb.InstanceStatus
	size := 0
	for id := range c.outbox {
		if len(out) == limit || size > maxOutboxBytes {
			break
		}
		delete(c.outbox, id)
		if in := c.instances.records[id]; in != nil {
			st := c.statusToProto(in)
			size += proto.Size(st)
			out = append(out, st)
		}
	}
	return out
}

// OutboxReady has a value when there may be something in the outbox.
func (c *Core) OutboxReady() <-chan struct{} { return c.outboxReady }

// OutboxAll puts everything that the parent gave into the outbox: a new
// session begins by telling how all of it is.
func (c *Core) OutboxAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, in := range c.instances.records {
		if in.ParentGeneration != 0 {
			c.outbox[id] = struct{}{}
		}
	}
	signal(c.outboxReady)
}

// OutboxFailed puts statuses back that did not reach the parent.
func (c *Core) OutboxFailed(statuses []*pb.InstanceStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range statuses {
		c.outbox[st.GetInstanceId()] = struct{}{}
	}
	signal(c.outboxReady)
}

// OutboxAcked drops what the parent has stored. Instances that have been
// terminated are forgotten with it.
func (c *Core) OutboxAcked(statuses []*pb.InstanceStatus) {
	acked := map[string]uint64{}
	c.mu.RLock()
	for _, st := range statuses {
		in := c.instances.records[st.GetInstanceId()]
		if n := len(st.GetChanges()); n > 0 && in != nil && in.Incarnation == st.GetIncarnation() {
			acked[in.ID] = st.GetChanges()[n-1].GetSeq()
		}
	}
	c.mu.RUnlock()
	if len(acked) == 0 {
		return
	}
	c.later(func(tx *txn) error {
		for id, seq := range acked {
			in := tx.c.instances.get(id)
			if in == nil {
				continue
			}
			next := *in
			next.Outbox = nil
			for _, ch := range in.Outbox {
				if ch.Seq > seq {
					next.Outbox = append(next.Outbox, ch)
				}
			}
			if len(next.Outbox) == 0 && next.State == job.Terminated && next.ChildID == "" {
				tx.deleteInstance(id)
				continue
			}
			tx.setInstance(&next)
		}
		return nil
	})
}
