package orchestrator

import (
	"context"
	"math/rand/v2"
	"time"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
)

// maxPerApply bounds the assignments of one message, and maxApplyBytes their
// size, so that it stays below the link's limit for messages.
const (
	maxPerApply   = 1000
	maxApplyBytes = 2 << 20
)

// update is a set of changes for a child.
type update struct {
	assignments []*Instance
	remove      []string
}

// sync keeps a child's assignments as they should be for as long as the
// session lives: first all of them, then what changes. After an error it
// begins anew.
func (c *Core) sync(ctx context.Context, s *session) {
	client := pb.NewDRPCChildClient(s.link.Conn())
	l := c.liveOf(s)
	if l == nil {
		return
	}
	var revision uint64
	backoff := 100 * time.Millisecond
	for snapshot := true; ; {
		u := c.takeUpdate(l, s.childID, snapshot)
		err := c.send(ctx, client, s, u, &revision, snapshot)
		if err == nil {
			snapshot, backoff = false, 100*time.Millisecond
			select {
			case <-ctx.Done():
				return
			case <-l.kick:
			}
			continue
		}
		if ctx.Err() != nil || s.link.Err() != nil {
			return
		}
		// A child that lost count gets a snapshot at once; other errors wait.
		if snapshot || link.ClassOf(err) != link.Conflict {
			s.server.Logger.Warn("send assignments", "child", s.childID, "err", err)
			if !pause(ctx, backoff+rand.N(backoff)) {
				return
			}
			backoff = min(2*backoff, 10*time.Second)
		}
		snapshot = true
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (c *Core) liveOf(s *session) *live {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if l := c.live[s.childID]; l != nil && l.session == s {
		return l
	}
	return nil
}

// takeUpdate collects what the child must be told, and counts it as told: what
// changes from now on is marked anew.
func (c *Core) takeUpdate(l *live, childID string, snapshot bool) update {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := l.dirty
	l.dirty = map[string]struct{}{}
	if snapshot {
		ids = c.byChild[childID]
	}
	var u update
	for id := range ids {
		in := c.instances.records[id]
		if in != nil && in.ChildID == childID && in.Desired == DesiredRunning {
			u.assignments = append(u.assignments, in)
		} else {
			u.remove = append(u.remove, id)
		}
	}
	return u
}

// send applies an update at the child, in parts where it is large.
func (c *Core) send(ctx context.Context, client pb.DRPCChildClient, s *session, u update, revision *uint64, snapshot bool) error {
	begin := snapshot
	for {
		req := &pb.ApplyRequest{BaseRevision: *revision, Revision: *revision + 1, SnapshotBegin: begin}
		sent := take(&u, req)
		last := len(u.assignments) == 0 && len(u.remove) == 0
		req.SnapshotEnd = snapshot && last
		if !snapshot && len(sent) == 0 && len(req.GetRemove()) == 0 {
			return nil
		}
		callCtx, cancel := context.WithTimeout(ctx, applyTimeout)
		resp, err := client.Apply(callCtx, req)
		cancel()
		if err != nil {
			return err
		}
		*revision, begin = req.GetRevision(), false
		c.takeOffer(s, resp.GetOffer(), nil, sent)
		c.retryAt(s.childID, false)
		if err := c.takeRefusals(ctx, s.childID, resp.GetRefusals(), resp.GetAbsent()); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// take moves as much of the update into the request as fits.
func take(u *update, req *pb.ApplyRequest) (sent []*Instance) {
	size, n := 0, 0
	for n < len(u.assignments) && n < maxPerApply && size < maxApplyBytes {
		in := u.assignments[n]
		req.Assignments = append(req.Assignments, assignmentToProto(in))
		size += len(in.Spec) + 128
		n++
	}
	sent, u.assignments = u.assignments[:n], u.assignments[n:]
	if len(u.assignments) == 0 {
		n = min(len(u.remove), 10*maxPerApply)
		req.Remove, u.remove = u.remove[:n], u.remove[n:]
	}
	return sent
}
