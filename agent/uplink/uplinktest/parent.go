// Package uplinktest plays the parent of a node for tests: over a real link,
// with real certificates, but without any will of its own. It never appears in
// a program.
package uplinktest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcmux"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// Parent plays a cluster: it takes one node's sessions, sends it what it wants
// and keeps what it is told.
//
// The exported fields may be looked at within Until and changed within Update.
type Parent struct {
	edgeiov1.DRPCParentUnimplementedServer
	Addr string // host:port to join at; does not change

	Session    *link.Session                       // the newest
	Revision   uint64                              // sent last
	Wanted     map[string]*edgeiov1.Assignment     // by instance
	Offer      *edgeiov1.Offer                     // the newest
	Registered *edgeiov1.RegisterRequest           // of the newest session
	Last       map[string]*edgeiov1.InstanceStatus // by instance
	Usage      int                                 // samples received
	Renewed    int                                 // certificates
	Left       string                              // reason given
	Refuse     error                               // answer to status reports, if not nil

	t         testing.TB
	authority *identitytest.Authority
	identity  *identity.Store
	listener  *link.Listener

	mu      sync.Mutex
	changed chan struct{}       // closed at each change
	synced  *link.Session       // the session that has got its snapshot
	history map[string][]string // by instance: states, each once
	seqs    map[string]uint64
	tokens  map[string]bool
}

// New starts a parent on a free port of loopback. It ends with the test.
func New(t testing.TB) *Parent {
	t.Helper()
	p := &Parent{
		t: t, authority: identitytest.NewAuthority(t, time.Now()),
		Wanted: map[string]*edgeiov1.Assignment{}, history: map[string][]string{}, seqs: map[string]uint64{},
		Last: map[string]*edgeiov1.InstanceStatus{}, changed: make(chan struct{}), tokens: map[string]bool{},
	}
	p.identity = p.authority.Enrol(t, identity.Cluster, "cluster", time.Now())
	p.listen("127.0.0.1:0")
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *Parent) listen(addr string) {
	p.t.Helper()
	l, err := link.Listen(addr, link.Config{TLS: p.identity.ServerTLS(identity.TLSOptions{})})
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener, p.Addr = l, l.Addr().String()
	go func() {
		for {
			s, err := l.Accept(context.Background())
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go p.serve(s)
			}
		}
	}()
}

// Close ends all sessions.
func (p *Parent) Close() { _ = p.listener.Close() }

func (p *Parent) serve(s *link.Session) {
	mux := drpcmux.New()
	_ = edgeiov1.DRPCRegisterParent(mux, p)
	_ = edgeiov1.DRPCRegisterEnrolment(mux, enrolment{p: p})
	go func() {
		for {
			if _, err := s.ReceiveDatagram(context.Background()); err != nil {
				return
			}
			p.Update(func() { p.Usage++ })
		}
	}()
	_ = s.Serve(context.Background(), mux)
}

type enrolment struct {
	edgeiov1.DRPCEnrolmentUnimplementedServer
	p *Parent
}

// Enrol implements edgeiov1.DRPCEnrolmentServer.
func (e enrolment) Enrol(_ context.Context, req *edgeiov1.EnrolRequest) (*edgeiov1.EnrolResponse, error) {
	e.p.mu.Lock()
	known := e.p.tokens[req.GetToken()]
	e.p.mu.Unlock()
	if !known {
		return nil, link.Error(link.Denied, "the token is not known here")
	}
	chain, err := e.p.sign(req.GetCsr(), req.GetName())
	return &edgeiov1.EnrolResponse{Chain: chain}, err
}

func (p *Parent) sign(der []byte, name string) ([][]byte, error) {
	csr, err := identity.ParseCSR(der)
	if err != nil {
		return nil, err
	}
	template, err := identity.LeafTemplate(identity.Node, name, csr.PublicKey, time.Now(), nil, nil)
	if err != nil {
		return nil, err
	}
	leaf := p.authority.Sign(p.t, template, csr.PublicKey)
	return [][]byte{leaf.Raw, p.authority.Certificate.Raw}, nil
}

// Renew implements edgeiov1.DRPCParentServer.
func (p *Parent) Renew(ctx context.Context, req *edgeiov1.RenewRequest) (*edgeiov1.RenewResponse, error) {
	chain, err := p.sign(req.GetCsr(), link.PeerFromContext(ctx).Name)
	p.Update(func() { p.Renewed++ })
	return &edgeiov1.RenewResponse{Chain: chain}, err
}

// Issue gives a node a certificate that begins at a time.
func (p *Parent) Issue(node *identity.Store, name string, at time.Time) {
	p.t.Helper()
	p.authority.Issue(p.t, node, identity.Node, name, at)
}

// Token returns a join token that is good.
func (p *Parent) Token() string {
	t := identity.NewToken(p.authority.Pin()).String()
	p.Update(func() { p.tokens[t] = true })
	return t
}

// Conn returns the connection of the newest session, for calls to the node.
func (p *Parent) Conn() drpc.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Session.Conn()
}

// Restart ends all sessions and listens again, at the same address.
func (p *Parent) Restart() {
	p.t.Helper()
	p.Close()
	p.listen(p.Addr)
}

// Update changes something, and wakes whoever waits in Until.
func (p *Parent) Update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Until waits for something to become true.
func (p *Parent) Until(what string, f func() bool) {
	p.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		p.mu.Lock()
		ok, changed := f(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%s: not within 15s; history %v", what, p.history)
		}
	}
}

// Told returns the states that the parent was told of an instance, each once.
func (p *Parent) Told(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.history[id], " ")
}

// Want adds to what the next snapshot sends.
func (p *Parent) Want(as ...*edgeiov1.Assignment) {
	p.Update(func() {
		for _, a := range as {
			p.Wanted[a.GetInstanceId()] = a
		}
	})
}

// UntilState waits until an instance was last reported in a state.
func (p *Parent) UntilState(id, state string) {
	p.t.Helper()
	p.Until(id+" is "+state, func() bool { return p.Last[id].GetState() == state })
}

// Register implements edgeiov1.DRPCParentServer.
func (p *Parent) Register(ctx context.Context, req *edgeiov1.RegisterRequest) (*edgeiov1.RegisterResponse, error) {
	s := link.SessionFromContext(ctx)
	p.Update(func() { p.Session, p.Registered, p.Offer = s, req, req.GetOffer() })
	go func() { _, _ = p.snapshot() }()
	return &edgeiov1.RegisterResponse{ParentId: "c", ParentName: "cluster", UsageIntervalMs: 1000}, nil
}

// UpdateOffer implements edgeiov1.DRPCParentServer.
func (p *Parent) UpdateOffer(_ context.Context, req *edgeiov1.UpdateOfferRequest) (*edgeiov1.UpdateOfferResponse, error) {
	p.Update(func() {
		if req.GetOffer().GetSequence() > p.Offer.GetSequence() {
			p.Offer = req.GetOffer()
		}
	})
	return &edgeiov1.UpdateOfferResponse{}, nil
}

// ReportStatus implements edgeiov1.DRPCParentServer.
func (p *Parent) ReportStatus(_ context.Context, req *edgeiov1.ReportStatusRequest) (*edgeiov1.ReportStatusResponse, error) {
	p.mu.Lock()
	refuse := p.Refuse
	p.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	p.Update(func() {
		for _, st := range req.GetStatuses() {
			id := st.GetInstanceId()
			p.Last[id] = st
			for _, c := range st.GetChanges() {
				if c.GetSeq() > p.seqs[id] {
					p.seqs[id] = c.GetSeq()
					p.history[id] = append(p.history[id], c.GetState())
				}
			}
		}
	})
	return &edgeiov1.ReportStatusResponse{}, nil
}

// Leave implements edgeiov1.DRPCParentServer.
func (p *Parent) Leave(_ context.Context, req *edgeiov1.LeaveRequest) (*edgeiov1.LeaveResponse, error) {
	p.Update(func() { p.Left = req.GetReason() })
	return &edgeiov1.LeaveResponse{}, nil
}

// snapshot sends all that is wanted, in two parts.
func (p *Parent) snapshot() (*edgeiov1.ApplyResponse, error) {
	p.mu.Lock()
	p.Revision++
	rev, s := p.Revision, p.Session
	var all []*edgeiov1.Assignment
	for _, a := range p.Wanted {
		all = append(all, a)
	}
	p.mu.Unlock()
	half := len(all) / 2
	child := edgeiov1.NewDRPCChildClient(s.Conn())
	defer p.Update(func() { p.synced = s })
	if _, err := child.Apply(p.t.Context(), &edgeiov1.ApplyRequest{Revision: rev, SnapshotBegin: true, Assignments: all[:half]}); err != nil {
		return nil, err
	}
	return child.Apply(p.t.Context(), &edgeiov1.ApplyRequest{Revision: rev, SnapshotEnd: true, Assignments: all[half:]})
}

// Apply sends a change, on top of what was sent before.
func (p *Parent) Apply(put []*edgeiov1.Assignment, remove ...string) *edgeiov1.ApplyResponse {
	p.t.Helper()
	p.Until("in step with the node", func() bool { return p.Session != nil && p.synced == p.Session })
	p.mu.Lock()
	base, s := p.Revision, p.Session
	p.Revision++
	for _, a := range put {
		p.Wanted[a.GetInstanceId()] = a
	}
	for _, id := range remove {
		delete(p.Wanted, id)
	}
	p.mu.Unlock()
	resp, err := edgeiov1.NewDRPCChildClient(s.Conn()).Apply(p.t.Context(), &edgeiov1.ApplyRequest{
		Revision: base + 1, BaseRevision: base, Assignments: put, Remove: remove,
	})
	if err != nil {
		p.t.Fatalf("apply: %v", err)
	}
	return resp
}

// Assignment makes one of a job.
func Assignment(id string, generation uint64, j job.Job) *edgeiov1.Assignment {
	data, err := json.Marshal(j)
	if err != nil {
		panic(err) // no job has what JSON cannot say
	}
	return &edgeiov1.Assignment{InstanceId: id, Generation: generation, JobId: "j-" + id, Job: data}
}
