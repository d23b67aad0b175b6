package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"storj.io/drpc"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// What follows is a tree without a network: orchestrators are real, nodes and
// connections are simulated, and every message may be lost or doubled.

// dice are the random decisions of one run. They are thrown by several goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

func (d *dice) oneIn(n int) bool { return n > 0 && d.n(n) == 0 }

// hop is a connection of a child to its parent.
type hop struct {
	peer  identity.Peer
	child interface {
		Apply(context.Context, *pb.ApplyRequest) (*pb.ApplyResponse, error)
		Explain(context.Context, *pb.ExplainRequest) (*pb.ExplainResponse, error)
	}
	dice   *dice
	faulty *atomic.Bool // of the run: whether messages get lost

	once sync.Once
	done chan struct{}
}

var errCut = link.Error(link.Unavailable, "cut off")

func (h *hop) Peer() identity.Peer     { return h.peer }
func (h *hop) RemoteAddr() net.Addr    { return &net.UDPAddr{} }
func (h *hop) Conn() drpc.Conn         { return wire{h} }
func (h *hop) Close(link.Code, string) { h.once.Do(func() { close(h.done) }) }
func (h *hop) lost() bool              { return h.faulty.Load() && h.dice.oneIn(8) }
func (h *hop) doubled() bool           { return h.faulty.Load() && h.dice.oneIn(8) }
func (h *hop) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.done:
		return nil, errCut
	}
}

func (h *hop) Err() error {
	select {
	case <-h.done:
		return errCut
	default:
		return nil
	}
}

// wire is the way to call the child.
type wire struct{ *hop }

func (h wire) Close() error            { h.hop.Close(0, ""); return nil }
func (h wire) Closed() <-chan struct{} { return h.done }
func (h wire) NewStream(context.Context, string, drpc.Encoding) (drpc.Stream, error) {
	return nil, errCut
}

func (h wire) Invoke(ctx context.Context, rpc string, _ drpc.Encoding, in, out drpc.Message) error {
	call := func() (proto.Message, error) {
		switch in := in.(type) {
		case *pb.ApplyRequest:
			return h.child.Apply(ctx, proto.CloneOf(in))
		case *pb.ExplainRequest:
			return h.child.Explain(ctx, proto.CloneOf(in))
		}
		return nil, link.Error(link.Unsupported, "%s", rpc)
	}
	if h.Err() != nil || h.lost() {
		return errCut
	}
	if h.doubled() {
		_, _ = call()
	}
	resp, err := call()
	if h.Err() != nil || h.lost() {
		return errCut
	}
	if err == nil {
		proto.Merge(out.(proto.Message), resp)
	}
	return err
}

// simCore is an orchestrator that can be restarted.
type simCore struct {
	cfg    Config
	core   *Core
	server *Server
	stop   func()
}

func (s *simCore) start() error {
	core, err := New(context.Background(), s.cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { _ = core.Run(ctx) })
	s.core, s.server = core, &Server{Core: core, Logger: s.cfg.Logger}
	s.stop = func() { cancel(); wait.Wait() }
	return nil
}

func newSimCore(tier Tier, name string) *simCore {
	return &simCore{cfg: Config{
		Tier: tier, ID: name, Name: name, Store: store.Memory(), Strategy: scheduler.FirstFit, Logger: slog.New(slog.DiscardHandler),
	}}
}

// simInstance is what a node has of an assignment.
type simInstance struct {
	as      *pb.Assignment
	job     *job.Job
	state   job.State
	seq     uint64
	changes []*pb.Change
	begun   uint64 // incarnation
}

func (in *simInstance) move(to job.State) {
	if !job.CanFollow(in.state, to) {
		return
	}
	in.seq++
	in.state = to
	in.changes = append(in.changes, &pb.Change{Seq: in.seq, State: string(to), Reason: "sim"})
}

// simNode is a worker node.
type simNode struct {
	peer     identity.Peer
	capacity scheduler.Resources
	parent   *simCore

	mu       sync.Mutex
	refuse   bool
	held     map[string]*simInstance
	revision uint64
	synced   bool
	sequence uint64
	begun    uint64

	hop     *hop
	session *session // nil: not connected
}

func (n *simNode) free() scheduler.Resources {
	free := n.capacity
	for _, in := range n.held {
		if !in.state.Ended() {
			free = free.Sub(scheduler.Needs(in.job))
		}
	}
	return free
}

func wireResources(r scheduler.Resources) *pb.Resources {
	return &pb.Resources{CpuMillis: r.CPUMillis, MemoryBytes: r.MemoryBytes, DiskBytes: r.DiskBytes}
}

func (n *simNode) offer() *pb.Offer {
	n.sequence++
	return &pb.Offer{
		Sequence: n.sequence, Capacity: wireResources(n.capacity), Free: wireResources(n.free()), Nodes: 1, Instances: uint32(len(n.held)),
		Fits: []*pb.Fit{{Runtimes: []string{"native"}, Arch: "amd64", Free: wireResources(n.free()), Count: 1}},
	}
}

func (n *simNode) Apply(_ context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !req.GetSnapshotBegin() && (!n.synced || req.GetBaseRevision() != n.revision) {
		return nil, link.Error(link.Conflict, "wrong base")
	}
	resp := &pb.ApplyResponse{}
	seen := map[string]bool{}
	for _, as := range req.GetAssignments() {
		seen[as.GetInstanceId()] = true
		if r := n.accept(as); r != "" {
			resp.Refusals = append(resp.Refusals, &pb.Refusal{InstanceId: as.GetInstanceId(), Generation: as.GetGeneration(), Reason: r})
		}
	}
	for _, id := range req.GetRemove() {
		if in := n.held[id]; in != nil && in.state != job.Terminated {
			seen[id] = true
			in.move(job.Terminated)
		} else {
			resp.Absent = append(resp.Absent, id)
		}
	}
	if req.GetSnapshotBegin() { // the simulation has no snapshots in parts
		for id, in := range n.held {
			if !seen[id] {
				in.move(job.Terminated)
			}
		}
	}
	n.revision, n.synced = req.GetRevision(), true
	resp.Offer = n.offer()
	return resp, nil
}

func (n *simNode) accept(as *pb.Assignment) (refusal string) {
	old := n.held[as.GetInstanceId()]
	switch {
	case old != nil && old.as.GetGeneration() == as.GetGeneration():
		return ""
	case old != nil && old.as.GetGeneration() > as.GetGeneration():
		return "there is a newer one"
	case n.refuse:
		return "it does not want to"
	}
	j, err := job.Decode(as.GetJob())
	if err != nil {
		return err.Error()
	}
	if !n.free().Covers(scheduler.Needs(j)) {
		return "no room"
	}
	n.begun++
	in := &simInstance{as: as, job: j, begun: n.begun, state: job.Requested}
	in.move(job.ScheduledNode)
	n.held[as.GetInstanceId()] = in
	return ""
}

func (n *simNode) Explain(context.Context, *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return nil, errors.New("nodes are not asked")
}

// step lets something happen to a random instance.
func (n *simNode) step(d *dice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range slices.Sorted(keysOf(n.held)) {
		in := n.held[id]
		switch {
		case in.state == job.ScheduledNode && d.oneIn(2):
			in.move(job.Running)
		case in.state == job.Running && d.oneIn(12):
			in.move(job.ScheduledNode)
		case in.state == job.Running && d.oneIn(20):
			in.move(job.Failed)
		case in.state == job.Running && d.oneIn(20):
			in.move(job.Completed)
		}
	}
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (n *simNode) connect(d *dice, faulty *atomic.Bool) error {
	n.disconnect()
	n.hop = &hop{peer: n.peer, child: n, dice: d, faulty: faulty, done: make(chan struct{})}
	s := &session{server: n.parent.server, link: n.hop, childID: n.peer.ID}
	n.mu.Lock()
	n.synced = false
	n.sequence = 0
	req := &pb.RegisterRequest{Name: n.peer.Name, Offer: n.offer()}
	n.mu.Unlock()
	if _, err := s.Register(context.Background(), req); err != nil {
		return err
	}
	n.session = s
	return nil
}

func (n *simNode) disconnect() {
	if n.session != nil {
		n.hop.Close(link.CodeShutdown, "")
		n.session.end()
		n.session = nil
	}
}

// report tells the parent how all is, and drops what is acknowledged.
func (n *simNode) report() {
	if n.session == nil {
		return
	}
	n.mu.Lock()
	var statuses []*pb.InstanceStatus
	for id, in := range n.held {
		statuses = append(statuses, &pb.InstanceStatus{
			InstanceId: id, Generation: in.as.GetGeneration(), State: string(in.state), Incarnation: in.begun,
			Changes: slices.Clone(in.changes), NodeId: n.peer.ID, NodeName: n.peer.Name,
		})
	}
	n.mu.Unlock()
	if n.hop.lost() {
		return
	}
	_, err := n.session.ReportStatus(context.Background(), &pb.ReportStatusRequest{Statuses: statuses})
	if err != nil || n.hop.lost() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, st := range statuses {
		in := n.held[st.GetInstanceId()]
		if in == nil || in.begun != st.GetIncarnation() {
			continue
		}
		in.changes = in.changes[len(st.GetChanges()):]
		if in.state == job.Terminated && len(in.changes) == 0 {
			delete(n.held, st.GetInstanceId())
		}
	}
}

func (n *simNode) sendOffer() {
	if n.session == nil || n.hop.lost() {
		return
	}
	n.mu.Lock()
	o := n.offer()
	n.mu.Unlock()
	_, _ = n.session.UpdateOffer(context.Background(), &pb.UpdateOfferRequest{Offer: o})
}

// simCluster is a cluster orchestrator with its uplink.
type simCluster struct {
	simCore
	peer   identity.Peer
	parent *simCore

	hop     *hop
	session *session
}

// below serves the root as a cluster does.
type below struct {
	core        *Core
	assignments *Assignments
}

func (b *below) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	return b.assignments.Apply(ctx, req)
}

func (b *below) Explain(ctx context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return b.core.ExplainBelow(ctx, req)
}

func (c *simCluster) connect(d *dice, faulty *atomic.Bool) error {
	c.disconnect()
	c.hop = &hop{peer: c.peer, child: &below{c.core, c.core.Assignments()}, dice: d, faulty: faulty, done: make(chan struct{})}
	s := &session{server: c.parent.server, link: c.hop, childID: c.peer.ID}
	if _, err := s.Register(context.Background(), &pb.RegisterRequest{Name: c.peer.Name, Location: "Garching", Offer: c.core.Offer()}); err != nil {
		return err
	}
	c.session = s
	c.core.OutboxAll()
	return nil
}

func (c *simCluster) disconnect() {
	if c.session != nil {
		c.hop.Close(link.CodeShutdown, "")
		c.session.end()
		c.session = nil
	}
}

func (c *simCluster) report(limit int) {
	if c.session == nil {
		return
	}
	statuses := c.core.Outbox(limit)
	if len(statuses) == 0 {
		return
	}
	if c.hop.lost() {
		c.core.OutboxFailed(statuses)
		return
	}
	_, err := c.session.ReportStatus(context.Background(), &pb.ReportStatusRequest{Statuses: statuses})
	if err != nil || c.hop.lost() {
		c.core.OutboxFailed(statuses)
		return
	}
	c.core.OutboxAcked(statuses)
}

func (c *simCluster) sendOffer() {
	select {
	case <-c.core.OfferChanged():
	default:
		return
	}
	if c.session == nil || c.hop.lost() {
		signal(c.core.offerChanged)
		return
	}
	_, _ = c.session.UpdateOffer(context.Background(), &pb.UpdateOfferRequest{Offer: c.core.Offer()})
}

func (in *simInstance) String() string {
	return fmt.Sprintf("%s gen %x %s", in.as.GetInstanceId(), in.as.GetGeneration(), in.state)
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
