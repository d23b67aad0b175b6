package enrol

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"storj.io/drpc/drpcmux"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/link"
)

// parent signs what it is asked to, as of now.
type parent struct {
	pb.DRPCParentUnimplementedServer
	t         *testing.T
	authority *identitytest.Authority
	addr      string
	now       func() time.Time
	enrols    atomic.Int64
	renewals  atomic.Int64
	loseFirst bool // break the connection instead of the first answer
}

func newParent(t *testing.T, now ...func() time.Time) *parent {
	p := &parent{t: t, authority: identitytest.NewAuthority(t, time.Now().Add(-365*24*time.Hour)), now: time.Now}
	if len(now) > 0 {
		p.now = now[0]
	}
	id := p.authority.Enrol(t, identity.Root, "root", time.Now())
	l, err := link.Listen("127.0.0.1:0", link.Config{TLS: id.ServerTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.run(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended; _ = l.Close() })
	return p
}

func (p *parent) run(ctx context.Context, l *link.Listener) {
	for {
		sess, err := l.Accept(ctx)
		if err != nil {
			return
		}
		mux := drpcmux.New()
		if err := errors.Join(pb.DRPCRegisterEnrolment(mux, p), pb.DRPCRegisterParent(mux, p)); err != nil {
			p.t.Error(err)
			return
		}
		go func() { _ = sess.Serve(ctx, mux) }()
	}
}

func (p *parent) sign(csr []byte, kind identity.Kind, name string) ([][]byte, string, error) {
	parsed, err := identity.ParseCSR(csr)
	if err != nil {
		return nil, "", err
	}
	template, err := identity.LeafTemplate(kind, name, parsed.PublicKey, p.now(), nil, nil)
	if err != nil {
		return nil, "", err
	}
	id, err := identity.IDFromKey(kind, parsed.PublicKey)
	leaf := p.authority.Sign(p.t, template, parsed.PublicKey)
	return [][]byte{leaf.Raw, p.authority.Certificate.Raw}, id, err
}

func (p *parent) Enrol(ctx context.Context, req *pb.EnrolRequest) (*pb.EnrolResponse, error) {
	chain, id, err := p.sign(req.GetCsr(), identity.Kind(req.GetKind()), req.GetName())
	if p.enrols.Add(1) == 1 && p.loseFirst {
		go link.SessionFromContext(ctx).Close(link.CodeShutdown, "cut")
		<-ctx.Done()
	}
	return &pb.EnrolResponse{Id: id, Chain: chain}, err
}

func (p *parent) Renew(ctx context.Context, req *pb.RenewRequest) (*pb.RenewResponse, error) {
	p.renewals.Add(1)
	peer := link.PeerFromContext(ctx)
	chain, _, err := p.sign(req.GetCsr(), peer.Kind, peer.Name)
	return &pb.RenewResponse{Chain: chain}, err
}

func (p *parent) request(t *testing.T) Request {
	t.Helper()
	store, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token := identity.NewToken(p.authority.Pin())
	return Request{Store: store, Kind: identity.Node, Name: "e580", Token: token.String(), Addrs: []string{p.addr}}
}

func TestJoin(t *testing.T) {
	p := newParent(t)
	r := p.request(t)
	// Nobody is at the first address: it is refused at once or given up.
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	r.Addrs = []string{dead.LocalAddr().String(), p.addr}
	peer, err := Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if peer.Name != "e580" || peer.Kind != identity.Node || !r.Store.Enrolled() {
		t.Errorf("joined as %+v", peer)
	}
}

func TestJoinAgainAfterALostAnswer(t *testing.T) {
	p := newParent(t)
	p.loseFirst = true
	r := p.request(t)
	before, err := r.Store.ID(identity.Node)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), r); err == nil || r.Store.Enrolled() {
		t.Fatalf("joined without an answer: %v", err)
	}
	peer, err := Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if peer.ID != before {
		t.Errorf("the key has changed: %s, %s", before, peer.ID)
	}
}

func TestJoinRefusesAnotherAuthority(t *testing.T) {
	p, other := newParent(t), newParent(t)
	r := p.request(t)
	r.Addrs = []string{other.addr}
	if _, err := Join(t.Context(), r); err == nil {
		t.Fatal("joined at a stranger")
	}
	if other.enrols.Load() != 0 {
		t.Error("the token was shown to a stranger")
	}
}

func TestJoinWithBadInput(t *testing.T) {
	p := newParent(t)
	for name, edit := range map[string]func(*Request){
		"no token":     func(r *Request) { r.Token = "" },
		"no addresses": func(r *Request) { r.Addrs = nil },
	} {
		r := p.request(t)
		edit(&r)
		if _, err := Join(t.Context(), r); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
}

// keepFresh runs KeepFresh on a session until f returns.
func (p *parent) keepFresh(t *testing.T, store *identity.Store, f func()) {
	t.Helper()
	sess, err := link.Dial(t.Context(), p.addr, link.Config{TLS: store.ClientTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); KeepFresh(ctx, store, sess, slog.New(slog.DiscardHandler)) }()
	f()
	cancel()
	<-ended
	sess.Close(link.CodeShutdown, "test over")
}

func TestKeepFreshRenewsInTime(t *testing.T) {
	p := newParent(t)
	store := p.authority.Enrol(t, identity.Node, "e580", time.Now().Add(-identity.LeafLifetime*7/10))
	old, key := store.Leaf(), store.Peer().ID
	p.keepFresh(t, store, func() {
		for deadline := time.After(10 * time.Second); store.Leaf() == old; {
			select {
			case <-deadline:
				t.Fatal("not renewed")
			case <-time.After(time.Millisecond):
			}
		}
	})
	if store.Peer().ID != key || !store.Leaf().NotAfter.After(old.NotAfter) {
		t.Errorf("renewed as %s until %s", store.Peer().ID, store.Leaf().NotAfter)
	}
}

// A parent whose clock is far behind issues what is due for renewal already.
// That must not make the child ask without end.
func TestKeepFreshDoesNotSpin(t *testing.T) {
	p := newParent(t, func() time.Time { return time.Now().Add(-identity.LeafLifetime * 8 / 10) })
	store := p.authority.Enrol(t, identity.Node, "e580", p.now())
	p.keepFresh(t, store, func() {
		for deadline := time.After(10 * time.Second); p.renewals.Load() == 0; {
			select {
			case <-deadline:
				t.Fatal("not renewed")
			case <-time.After(time.Millisecond):
			}
		}
		<-time.After(200 * time.Millisecond) // in which a spinning child would ask hundreds of times
	})
	if n := p.renewals.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}
