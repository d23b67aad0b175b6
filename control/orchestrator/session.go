package orchestrator

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"storj.io/drpc"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// connection is what is needed of a *link.Session.
type connection interface {
	Peer() identity.Peer
	RemoteAddr() net.Addr
	Conn() drpc.Conn
	ReceiveDatagram(ctx context.Context) ([]byte, error)
	Err() error
	Close(code link.Code, reason string)
}

var _ connection = (*link.Session)(nil)

// session is one connection of a child. It serves Parent to it.
type session struct {
	server  *Server
	link    connection
	childID string

	mu         sync.Mutex
	registered bool
	stop       context.CancelFunc
	work       sync.WaitGroup
}

var _ pb.DRPCParentServer = (*session)(nil)

func (s *session) address() string {
	host, _, err := net.SplitHostPort(s.link.RemoteAddr().String())
	if err != nil {
		return s.link.RemoteAddr().String()
	}
	return host
}

// Register makes the child known and begins to send it its assignments.
func (s *session) Register(ctx context.Context, req *pb.RegisterRequest) (*pb.RegisterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registered {
		return nil, link.Error(link.Conflict, "register %s: this connection is registered already", s.childID)
	}
	core := s.server.Core
	if err := core.attach(ctx, s, req); err != nil {
		return nil, err
	}
	s.registered = true
	working, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.work.Go(func() { core.sync(working, s) })
	s.work.Go(func() { s.receiveUsage(working) })
	s.server.Logger.Info("child connected", "kind", s.link.Peer().Kind, "name", req.GetName(), "id", s.childID, "address", s.address())
	return &pb.RegisterResponse{
		ParentId: core.cfg.ID, ParentName: core.cfg.Name, UsageIntervalMs: uint32(core.cfg.UsageInterval.Milliseconds()),
	}, nil
}

// end stops what the session does and notes that the child is away.
func (s *session) end() {
	s.mu.Lock()
	registered := s.registered
	s.mu.Unlock()
	if !registered {
		return
	}
	s.stop()
	s.server.Core.detach(s)
	s.work.Wait()
}

func (s *session) UpdateOffer(_ context.Context, req *pb.UpdateOfferRequest) (*pb.UpdateOfferResponse, error) {
	core := s.server.Core
	core.takeOffer(s, req.GetOffer(), req.GetRuntimes(), nil)
	core.retryAt(s.childID, true)
	return &pb.UpdateOfferResponse{}, nil
}

func (s *session) ReportStatus(ctx context.Context, req *pb.ReportStatusRequest) (*pb.ReportStatusResponse, error) {
	return &pb.ReportStatusResponse{}, s.server.Core.takeReport(ctx, s.childID, req.GetStatuses())
}

func (s *session) Renew(_ context.Context, req *pb.RenewRequest) (*pb.RenewResponse, error) {
	return s.server.Authority.Renew(s.link.Peer(), req)
}

func (s *session) RedeemToken(ctx context.Context, req *pb.RedeemTokenRequest) (*pb.RedeemTokenResponse, error) {
	return &pb.RedeemTokenResponse{}, s.server.Authority.RedeemFor(ctx, s.link.Peer(), req)
}

func (s *session) Leave(ctx context.Context, req *pb.LeaveRequest) (*pb.LeaveResponse, error) {
	return &pb.LeaveResponse{}, s.server.Core.removeChild(ctx, s.childID, req.GetReason())
}

// receiveUsage takes usage samples. A sample that was overtaken is dropped.
func (s *session) receiveUsage(ctx context.Context) {
	for {
		b, err := s.link.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		sample := new(pb.UsageSample)
		if proto.Unmarshal(b, sample) == nil {
			s.server.Core.takeUsage(s, sample)
		}
	}
}

func (c *Core) takeUsage(s *session, sample *pb.UsageSample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.live[s.childID]; l != nil && l.session == s && sample.GetSequence() > l.usage.GetSequence() {
		l.usage, l.usageAt = sample, c.cfg.Now()
	}
}

// attach records who the child is and makes the session its present one; an
// older session of the same child is closed.
func (c *Core) attach(ctx context.Context, s *session, req *pb.RegisterRequest) error {
	peer := s.link.Peer()
	if len(req.GetReport()) > 0 && !json.Valid(req.GetReport()) {
		return link.Error(link.Invalid, "register %s: the report is not JSON", peer)
	}
	name := req.GetName()
	if name == "" {
		name = peer.Name
	}
	err := c.do(ctx, func(tx *txn) error {
		ch := &Child{
			ID: peer.ID, Kind: string(peer.Kind), Name: name, Location: req.GetLocation(), Version: req.GetVersion(),
			BootID: req.GetBootId(), Labels: req.GetLabels(), Report: req.GetReport(), JoinedAt: tx.now, LastSeen: tx.now,
		}
		if old := tx.c.children.get(peer.ID); old != nil {
			ch.JoinedAt = old.JoinedAt
		}
		tx.setChild(ch)
		return nil
	})
	if err != nil {
		return err
	}
	offer := req.GetOffer()
	if offer == nil {
		offer = &pb.Offer{}
	}
	l := &live{
		session: s, offer: offer, offerAt: c.cfg.Now(), runtimes: req.GetRuntimes(), since: c.cfg.Now(),
		dirty: map[string]struct{}{}, unacked: map[string]*Instance{}, kick: make(chan struct{}, 1),
	}
	c.mu.Lock()
	older := c.live[peer.ID]
	c.live[peer.ID], c.gathered = l, nil
	delete(c.away, peer.ID)
	for id := range c.byChild[peer.ID] {
		if in := c.instances.records[id]; in.wanted() {
			l.unacked[id] = in
		}
	}
	c.mu.Unlock()
	if older != nil {
		go older.session.link.Close(link.CodeReplaced, "replaced by a newer connection of the same "+string(peer.Kind))
	}
	signal(c.offerChanged)
	c.retryAt(peer.ID, true)
	return nil
}

// detach notes that a session is over. If it was the child's present one, its
// instances become DANGLING unless it comes back in time.
func (c *Core) detach(s *session) {
	c.mu.Lock()
	l := c.live[s.childID]
	present := l != nil && l.session == s
	if present {
		delete(c.live, s.childID)
		c.gathered = nil
	}
	c.mu.Unlock()
	if !present {
		return
	}
	signal(c.offerChanged)
	c.later(func(tx *txn) error {
		if old := tx.c.children.get(s.childID); old != nil {
			ch := *old
			ch.LastSeen = tx.now
			tx.setChild(&ch)
		}
		return nil
	})
	c.noteAway(s.childID)
}

// removeChild forgets a child that leaves for good. Its instances are placed
// anew.
func (c *Core) removeChild(ctx context.Context, childID, reason string) error {
	return c.do(ctx, func(tx *txn) error {
		name := tx.childName(childID)
		if reason == "" {
			reason = "it leaves"
		}
		for _, cand := range tx.allCandidates() {
			if cand.ID == childID {
				before := cand.Refusal
				cand.Refusal = "has left"
				tx.undo = append(tx.undo, func() { cand.Refusal = before })
			}
		}
		for _, id := range tx.instancesAt(childID) {
			if err := tx.takeAway(tx.c.instances.get(id), name, reason); err != nil {
				return err
			}
		}
		tx.deleteChild(childID)
		return nil
	})
}

// takeAway ends what a child had that leaves, or places it anew.
func (tx *txn) takeAway(in *Instance, name, reason string) error {
	switch {
	case in.wanted():
		next, err := tx.unassign(in, name+": "+reason, nil)
		if err != nil {
			return err
		}
		return tx.place(next)
	case in.Desired == DesiredTerminated && in.State != job.Terminated:
		return tx.terminated(in, name+" has left")
	}
	next := *in
	next.ChildID = ""
	tx.setInstance(&next)
	return nil
}

// instancesAt returns the ids of the instances that a child has.
func (tx *txn) instancesAt(childID string) []string {
	ids := map[string]struct{}{}
	for id := range tx.c.byChild[childID] {
		ids[id] = struct{}{}
	}
	for id := range tx.c.instances.changed() {
		ids[id] = struct{}{}
	}
	maps.DeleteFunc(ids, func(id string, _ struct{}) bool {
		in := tx.c.instances.get(id)
		return in == nil || in.ChildID != childID
	})
	return keys(ids)
}

// applyTimeout bounds one Apply; a child only stores what it is told before it
// answers.
const applyTimeout = 30 * time.Second
