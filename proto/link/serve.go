package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/quic-go/quic-go"
	"storj.io/drpc"
)

// Serve answers the peer's calls with h until the session ends or ctx does, and
// returns when all handlers have; the contexts of those still at work are
// cancelled. It returns why the session ended, or the cause of ctx's end, after
// which the session is still open. Call it once per session.
//
// Handlers run concurrently, at most Config.MaxStreams of them. The context of
// a handler is cancelled when the caller has given up; SessionFromContext and
// PeerFromContext say who calls. An error that a handler returns arrives with
// its class.
func (s *Session) Serve(ctx context.Context, h drpc.Handler) error {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, sessionKey{}, s))
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer cancel()
	slots := make(chan struct{}, s.limits.streams)
	for {
		qs, err := s.conn.AcceptStream(ctx)
		if err != nil {
			if end := s.Err(); end != nil {
				return end
			}
			if ctx.Err() == nil {
				return sessionError(err) // of a connection that is just ending
			}
			return fmt.Errorf("serve %s: %w", s.peer, context.Cause(ctx))
		}
		select {
		case slots <- struct{}{}:
		default: // only for anonymous peers: QUIC itself holds the others to the limit
			qs.CancelRead(streamRefused)
			qs.CancelWrite(streamRefused)
			continue
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			s.serveStream(ctx, qs, h)
		})
	}
}

func (s *Session) serveStream(ctx context.Context, qs *quic.Stream, h drpc.Handler) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Ends when the peer does not want the answer any more; reading may not
	// notice that, as it stops while there is a message that nobody has taken.
	defer context.AfterFunc(qs.Context(), cancel)()

	t := newTransport(ctx, s, qs)
	man := t.manager()
	defer t.delivered()
	defer func() { _ = man.Close() }()
	ds, rpc, err := man.NewServerStream(ctx)
	if err != nil {
		cancel() // reset, so that the peer does not wait
		s.log.Debug("peer opened a stream but made no call", "peer", s.peer.ID, "error", err)
		return
	}
	t.delivered()
	st := &stream{Stream: ds, transport: t, rpc: rpc}
	if err := s.handle(st, h); err != nil {
		err = ds.SendError(toWire(err))
		logSend(s.log, rpc, err)
		return
	}
	logSend(s.log, rpc, ds.CloseSend())
}

func logSend(log *slog.Logger, rpc string, err error) {
	if err != nil {
		log.Debug("caller did not wait for the answer", "rpc", rpc, "error", err)
	}
}

// handle calls the handler. A panic fails the one call and not the program,
// which serves others too.
func (s *Session) handle(st *stream, h drpc.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("handler panicked", "rpc", st.rpc, "peer", s.peer.ID, "panic", p, "stack", string(debug.Stack()))
			err = Error(Internal, "%s: internal error; see the log of the peer", st.rpc)
		}
	}()
	err = h.HandleRPC(st, st.rpc)
	var closed *CloseError
	if errors.As(err, &closed) {
		return Error(Unavailable, "%s: %w", st.rpc, err)
	}
	return err
}
