package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"storj.io/drpc/drpcmux"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
)

// Server takes the connections of children.
type Server struct {
	Core      *Core
	Listener  *link.Listener
	Authority *Authority
	Logger    *slog.Logger
}

// Run serves until the context ends, and returns when all sessions are closed.
// It closes the listener.
func (s *Server) Run(ctx context.Context) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer func() { _ = s.Listener.Close() }()
	for {
		sess, err := s.Listener.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connections of children: %w", err)
		}
		sessions.Go(func() { s.serve(ctx, sess) })
	}
}

func (s *Server) serve(ctx context.Context, sess *link.Session) {
	mux := drpcmux.New()
	if sess.Peer().Anonymous() {
		defer sess.Close(link.CodeShutdown, "nothing more to do without a certificate")
		if err := pb.DRPCRegisterEnrolment(mux, s.Authority); err != nil {
			s.Logger.Error("serve enrolment", "err", err)
			return
		}
		_ = sess.Serve(ctx, mux)
		return
	}
	child := &session{server: s, link: sess, childID: sess.Peer().ID}
	if err := pb.DRPCRegisterParent(mux, child); err != nil {
		s.Logger.Error("serve a child", "err", err)
		return
	}
	err := sess.Serve(ctx, mux)
	child.end()
	reason := "the connection is not used any more"
	if ctx.Err() != nil {
		reason = "shutting down"
	}
	sess.Close(link.CodeShutdown, reason)
	s.Logger.Info("child disconnected", "kind", sess.Peer().Kind, "name", sess.Peer().Name, "id", sess.Peer().ID, "reason", err)
}
