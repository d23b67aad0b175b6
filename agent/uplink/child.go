package uplink

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// child serves the parent of one session.
type child struct {
	u *Uplink

	mu       sync.Mutex // one Apply at a time
	synced   bool       // a whole snapshot has come; deltas go on top of revision
	revision uint64
	seen     map[string]struct{} // ids in the parts of a snapshot under way
}

var _ edgeiov1.DRPCChildServer = (*child)(nil)

func newChild(u *Uplink) *child { return &child{u: u} }

// Apply implements edgeiov1.DRPCChildServer.
func (c *child) Apply(ctx context.Context, req *edgeiov1.ApplyRequest) (*edgeiov1.ApplyResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case req.GetSnapshotBegin():
		c.seen, c.synced = map[string]struct{}{}, false
	case c.seen != nil && req.GetRevision() == c.revision:
		// A further part of the snapshot.
	case (c.seen != nil || c.synced) && req.GetBaseRevision() == c.revision:
	default:
		return nil, link.Error(link.Conflict, "apply revision %d on %d: this session is at revision %d; send a snapshot",
			req.GetRevision(), req.GetBaseRevision(), c.revision)
	}

	var resp edgeiov1.ApplyResponse
	b := workload.Batch{Remove: req.GetRemove()}
	for _, a := range req.GetAssignments() {
		if c.seen != nil {
			c.seen[a.GetInstanceId()] = struct{}{}
		}
		if a.GetEnded() && !c.u.cfg.Workloads.Has(a.GetInstanceId()) {
			continue
		}
		as, err := assignment(a)
		if err != nil {
			resp.Refusals = append(resp.Refusals, c.refusal(a.GetInstanceId(), a.GetGeneration(), err.Error()))
			continue
		}
		b.Put = append(b.Put, as)
	}
	if c.seen != nil {
		for _, id := range req.GetRemove() {
			delete(c.seen, id)
		}
		if req.GetSnapshotEnd() {
			b.Keep = c.seen
		}
	}
	answer, err := c.u.cfg.Workloads.Apply(ctx, b)
	if err != nil {
		return nil, link.Error(link.Unavailable, "apply revision %d: %w", req.GetRevision(), err)
	}
	c.revision = req.GetRevision()
	if req.GetSnapshotEnd() && c.seen != nil {
		c.seen, c.synced = nil, true
	}
	for _, r := range answer.Refusals {
		resp.Refusals = append(resp.Refusals, c.refusal(r.ID, r.Generation, r.Reason))
	}
	resp.Absent = answer.Absent
	resp.Offer = c.u.wireOffer(c.u.cfg.News.Offer())
	return &resp, nil
}

func (c *child) refusal(id string, generation uint64, reason string) *edgeiov1.Refusal {
	return &edgeiov1.Refusal{
		InstanceId: id, Generation: generation, Reason: reason,
		Rejections: []*edgeiov1.Rejection{c.rejection(reason)},
	}
}

func (c *child) rejection(reason string) *edgeiov1.Rejection {
	return &edgeiov1.Rejection{Kind: "node", Id: c.u.cfg.Identity.Peer().ID, Name: c.u.cfg.Node.Name, Reason: reason}
}

// Explain implements edgeiov1.DRPCChildServer.
func (c *child) Explain(_ context.Context, req *edgeiov1.ExplainRequest) (*edgeiov1.ExplainResponse, error) {
	j, err := job.Decode(req.GetJob())
	if err != nil {
		return nil, link.Error(link.Invalid, "explain: %w", err)
	}
	if reasons := c.u.cfg.Workloads.Refusals(*j); len(reasons) > 0 {
		return &edgeiov1.ExplainResponse{Rejections: []*edgeiov1.Rejection{c.rejection(strings.Join(reasons, "; "))}}, nil
	}
	return &edgeiov1.ExplainResponse{Accepting: []string{c.u.cfg.Node.Name}}, nil
}

// ListNodes implements edgeiov1.DRPCChildServer: a node lists itself.
func (c *child) ListNodes(ctx context.Context, req *edgeiov1.ListNodesRequest) (*edgeiov1.ListNodesResponse, error) {
	n, peer := c.u.cfg.Node, c.u.cfg.Identity.Peer()
	if want := req.GetNode(); want != "" && want != n.Name && want != peer.ID {
		return &edgeiov1.ListNodesResponse{}, nil
	}
	o := c.u.cfg.News.Offer()
	node := &edgeiov1.Node{
		Id: peer.ID, Name: n.Name, Version: n.Version, BootId: n.BootID, Ready: true, LastSeen: timestamppb.Now(),
		Labels: n.Labels, Runtimes: wireRuntimes(o.Runtimes), Offer: c.u.wireOffer(o),
	}
	if req.GetWithReport() {
		node.Report = n.Report
	}
	if c.u.cfg.Sample != nil {
		if s, err := c.u.cfg.Sample(ctx); err == nil {
			node.Usage = c.u.wireUsage(s, time.Now())
		}
	}
	return &edgeiov1.ListNodesResponse{Nodes: []*edgeiov1.Node{node}}, nil
}

// maxChunk bounds the output in one message.
const maxChunk = 256 << 10

// Logs implements edgeiov1.DRPCChildServer.
func (c *child) Logs(req *edgeiov1.LogsRequest, stream edgeiov1.DRPCChild_LogsStream) error {
	o := drivers.LogOptions{Follow: req.GetFollow(), Tail: int(req.GetTail())}
	if req.GetSince() != nil {
		o.Since = req.GetSince().AsTime()
	}
	err := c.u.cfg.Workloads.Logs(stream.Context(), req.GetInstanceId(), o, func(e drivers.LogEntry) error {
		for data := e.Data; len(data) > 0; {
			n := min(len(data), maxChunk)
			chunk := &edgeiov1.LogChunk{Stream: string(e.Stream), Data: data[:n]}
			if !e.Time.IsZero() {
				chunk.Time = timestamppb.New(e.Time)
			}
			if err := stream.Send(chunk); err != nil {
				return err
			}
			data = data[n:]
		}
		return nil
	})
	if err != nil {
		return classified(fmt.Errorf("logs: %w", err))
	}
	return nil
}
