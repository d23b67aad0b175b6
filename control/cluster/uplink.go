package cluster

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"storj.io/drpc/drpcmux"

	"github.com/edgeio/edgeio/control/orchestrator"
	"github.com/edgeio/edgeio/control/pki"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/enrol"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// uplink keeps the session with the root: it reports up what the core has for
// the parent, and hands down what the parent asks for.
type uplink struct {
	cfg  Config
	core *orchestrator.Core
	id   *identity.Store
	log  *slog.Logger

	session atomic.Pointer[link.Session] // nil while there is none
}

func (u *uplink) run(ctx context.Context) error {
	up := &link.Uplink{
		Addrs:  func() []string { return u.cfg.Parents },
		Config: link.Config{TLS: u.id.ClientTLS(identity.TLSOptions{Accept: []identity.Kind{identity.Root}}), Logger: u.log},
		Logger: u.log,
	}
	err := up.Run(ctx, u.serve)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serve is one session with the root, from registration to its end.
func (u *uplink) serve(ctx context.Context, sess *link.Session) error {
	mux := drpcmux.New()
	if err := pb.DRPCRegisterChild(mux, &child{core: u.core, assignments: u.core.Assignments()}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sess.Serve(ctx, mux) })
	g.Go(func() error {
		client := pb.NewDRPCParentClient(sess.Conn())
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_, err := client.Register(callCtx, &pb.RegisterRequest{
			Name: u.cfg.Name, Location: u.cfg.Location, Labels: u.cfg.Labels, Version: u.cfg.Version, Offer: u.core.Offer(),
		})
		if err != nil {
			return err
		}
		u.session.Store(sess)
		defer u.session.CompareAndSwap(sess, nil)
		u.log.Info("connected to the root", "id", sess.Peer().ID, "address", sess.RemoteAddr().String())
		u.core.OutboxAll()
		g.Go(func() error { enrol.KeepFresh(ctx, u.id, sess, u.log); return nil })
		g.Go(func() error { return u.sendOffers(ctx, client) })
		return u.sendStatuses(ctx, client)
	})
	return g.Wait()
}

// callTimeout bounds a call to the root. One that takes longer ends the
// session; the next one begins with telling all.
const callTimeout = 30 * time.Second

// maxStatuses bounds the statuses of one report.
const maxStatuses = 500

// sendStatuses reports changes as they come; those that come while a report is
// under way go together in the next one.
func (u *uplink) sendStatuses(ctx context.Context, client pb.DRPCParentClient) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.core.OutboxReady():
		}
		for {
			statuses := u.core.Outbox(maxStatuses)
			if len(statuses) == 0 {
				break
			}
			callCtx, cancel := context.WithTimeout(ctx, callTimeout)
			_, err := client.ReportStatus(callCtx, &pb.ReportStatusRequest{Statuses: statuses})
			cancel()
			if err != nil {
				u.core.OutboxFailed(statuses)
				return err
			}
			u.core.OutboxAcked(statuses)
		}
	}
}

// offerInterval is the shortest time between two offers. Placements are in the
// answers to Apply, so an offer is about what changed otherwise.
const offerInterval = 200 * time.Millisecond

func (u *uplink) sendOffers(ctx context.Context, client pb.DRPCParentClient) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.core.OfferChanged():
		}
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := client.UpdateOffer(callCtx, &pb.UpdateOfferRequest{Offer: u.core.Offer()})
		cancel()
		if err != nil {
			return err
		}
		pause.Reset(offerInterval)
	}
}

// parent returns the way to call the root while it is connected.
func (u *uplink) parent() (pb.DRPCParentClient, error) {
	if sess := u.session.Load(); sess != nil {
		return pb.NewDRPCParentClient(sess.Conn()), nil
	}
	return nil, link.Error(link.Unavailable, "this cluster is not connected to its root")
}

// authority lets worker nodes in. Tokens are kept by the root, so that each is
// used up only once in the whole tree.
func (u *uplink) authority() *orchestrator.Authority {
	redeem := func(ctx context.Context, token string, kind identity.Kind, subject, _ string) error {
		client, err := u.parent()
		if err != nil {
			return link.Error(link.Unavailable, "check the join token: %w; try again later", err)
		}
		_, err = client.RedeemToken(ctx, &pb.RedeemTokenRequest{Token: token, Kind: string(kind), Subject: subject})
		return err
	}
	return &orchestrator.Authority{Issuer: pki.NewClusterAuthority(u.id, nil), Redeem: redeem, Cluster: u.id.Peer().ID}
}

// child serves the root.
type child struct {
	core        *orchestrator.Core
	assignments *orchestrator.Assignments
}

var _ pb.DRPCChildServer = (*child)(nil)

func (c *child) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	return c.assignments.Apply(ctx, req)
}

func (c *child) Explain(ctx context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return c.core.ExplainBelow(ctx, req)
}

func (c *child) ListNodes(ctx context.Context, req *pb.ListNodesRequest) (*pb.ListNodesResponse, error) {
	resp := &pb.ListNodesResponse{}
	for _, below := range c.core.Nodes(ctx, req) {
		resp.Nodes = append(resp.Nodes, below.Nodes...)
	}
	return resp, nil
}

func (c *child) Logs(req *pb.LogsRequest, stream pb.DRPCChild_LogsStream) error {
	return c.core.Logs(stream.Context(), req, stream.Send)
}

func (c *child) Exec(stream pb.DRPCChild_ExecStream) error {
	start, err := stream.Recv()
	if err != nil {
		return err
	}
	if start.GetStart() == nil {
		return link.Error(link.Invalid, "exec: the first message must be start")
	}
	return c.core.Exec(stream.Context(), start, stream.Recv, stream.Send)
}
