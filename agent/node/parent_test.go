package node_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"storj.io/drpc/drpcmux"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/link"
)

// parent plays a cluster: it takes one node's sessions, sends it what it wants
// and keeps what it is told.
type parent struct {
	edgeiov1.DRPCParentUnimplementedServer
	t         *testing.T
	authority *identitytest.Authority
	identity  *identity.Store
	listener  *link.Listener
	addr      string

	mu       sync.Mutex
	session  *link.Session
	revision uint64
	wanted   map[string]*edgeiov1.Assignment
	offer    *edgeiov1.Offer
	register *edgeiov1.RegisterRequest
	history  map[string][]string // by instance: states, each once
	seqs     map[string]uint64
	last     map[string]*edgeiov1.InstanceStatus
	usage    int
	left     string
	refuse   error
	changed  chan struct{}
	tokens   map[string]bool
}

func newParent(t *testing.T) *parent {
	t.Helper()
	p := &parent{
		t: t, authority: identitytest.NewAuthority(t, time.Now()),
		wanted: map[string]*edgeiov1.Assignment{}, history: map[string][]string{}, seqs: map[string]uint64{},
		last: map[string]*edgeiov1.InstanceStatus{}, changed: make(chan struct{}), tokens: map[string]bool{},
	}
	p.identity = p.authority.Enrol(t, identity.Cluster, "cluster", time.Now())
	p.listen("127.0.0.1:0")
	t.Cleanup(func() { p.close() })
	return p
}

func (p *parent) listen(addr string) {
	p.t.Helper()
	l, err := link.Listen(addr, link.Config{TLS: p.identity.ServerTLS(identity.TLSOptions{})})
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener, p.addr = l, l.Addr().String()
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

func (p *parent) close() { _ = p.listener.Close() }

func (p *parent) serve(s *link.Session) {
	mux := drpcmux.New()
	_ = edgeiov1.DRPCRegisterParent(mux, p)
	_ = edgeiov1.DRPCRegisterEnrolment(mux, enrolment{p: p})
	go func() {
		for {
			if _, err := s.ReceiveDatagram(context.Background()); err != nil {
				return
			}
			p.update(func() { p.usage++ })
		}
	}()
	_ = s.Serve(context.Background(), mux)
}

type enrolment struct {
	edgeiov1.DRPCEnrolmentUnimplementedServer
	p *parent
}

func (e enrolment) Enrol(_ context.Context, req *edgeiov1.EnrolRequest) (*edgeiov1.EnrolResponse, error) {
	e.p.mu.Lock()
	known := e.p.tokens[req.GetToken()]
	e.p.mu.Unlock()
	if !known {
		return nil, link.Error(link.Denied, "the token is not known here")
	}
	csr, err := identity.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, err
	}
	template, err := identity.LeafTemplate(identity.Node, req.GetName(), csr.PublicKey, time.Now(), nil, nil)
	if err != nil {
		return nil, err
	}
	leaf := e.p.authority.Sign(e.p.t, template, csr.PublicKey)
	return &edgeiov1.EnrolResponse{Chain: [][]byte{leaf.Raw, e.p.authority.Certificate.Raw}}, nil
}

func (p *parent) token() string {
	t := identity.NewToken(p.authority.Pin()).String()
	p.update(func() { p.tokens[t] = true })
	return t
}

func (p *parent) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits for something to become true.
func (p *parent) until(what string, f func() bool) {
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

// told returns the states that the parent was told of an instance, each once.
func (p *parent) told(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.history[id], " ")
}

func (p *parent) registered() *edgeiov1.RegisterRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.register
}

func (p *parent) want(as ...*edgeiov1.Assignment) {
	p.update(func() {
		for _, a := range as {
			p.wanted[a.GetInstanceId()] = a
		}
	})
}

func (p *parent) untilState(id, state string) {
	p.t.Helper()
	p.until(id+" is "+state, func() bool { return p.last[id].GetState() == state })
}

func (p *parent) Register(ctx context.Context, req *edgeiov1.RegisterRequest) (*edgeiov1.RegisterResponse, error) {
	s := link.SessionFromContext(ctx)
	p.update(func() { p.session, p.register, p.offer = s, req, req.GetOffer() })
	go func() { _, _ = p.snapshot() }()
	return &edgeiov1.RegisterResponse{ParentId: "c", ParentName: "cluster", UsageIntervalMs: 1000}, nil
}

func (p *parent) UpdateOffer(_ context.Context, req *edgeiov1.UpdateOfferRequest) (*edgeiov1.UpdateOfferResponse, error) {
	p.update(func() {
		if req.GetOffer().GetSequence() > p.offer.GetSequence() {
			p.offer = req.GetOffer()
		}
	})
	return &edgeiov1.UpdateOfferResponse{}, nil
}

func (p *parent) ReportStatus(_ context.Context, req *edgeiov1.ReportStatusRequest) (*edgeiov1.ReportStatusResponse, error) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	p.update(func() {
		for _, st := range req.GetStatuses() {
			id := st.GetInstanceId()
			p.last[id] = st
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

func (p *parent) Leave(_ context.Context, req *edgeiov1.LeaveRequest) (*edgeiov1.LeaveResponse, error) {
	p.update(func() { p.left = req.GetReason() })
	return &edgeiov1.LeaveResponse{}, nil
}

// snapshot sends all that is wanted, in two parts.
func (p *parent) snapshot() (*edgeiov1.ApplyResponse, error) {
	p.mu.Lock()
	p.revision++
	rev, s := p.revision, p.session
	var all []*edgeiov1.Assignment
	for _, a := range p.wanted {
		all = append(all, a)
	}
	p.mu.Unlock()
	half := len(all) / 2
	child := edgeiov1.NewDRPCChildClient(s.Conn())
	if _, err := child.Apply(p.t.Context(), &edgeiov1.ApplyRequest{Revision: rev, SnapshotBegin: true, Assignments: all[:half]}); err != nil {
		return nil, err
	}
	return child.Apply(p.t.Context(), &edgeiov1.ApplyRequest{Revision: rev, SnapshotEnd: true, Assignments: all[half:]})
}

// apply sends a change, on top of what was sent before.
func (p *parent) apply(put []*edgeiov1.Assignment, remove ...string) *edgeiov1.ApplyResponse {
	p.t.Helper()
	p.mu.Lock()
	base, s := p.revision, p.session
	p.revision++
	for _, a := range put {
		p.wanted[a.GetInstanceId()] = a
	}
	for _, id := range remove {
		delete(p.wanted, id)
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
