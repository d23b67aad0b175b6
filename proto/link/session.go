package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"storj.io/drpc"

	"github.com/edgeio/edgeio/proto/identity"
)

// Session is one connection between a child and its parent. Both ends may call
// and serve. All methods may be called concurrently.
type Session struct {
	conn   *quic.Conn
	peer   identity.Peer
	log    *slog.Logger
	limits limits

	buffered atomic.Int64 // bytes of incomplete messages of all streams
	release  func()       // frees what the session holds besides conn
	done     chan struct{}

	mu    sync.Mutex // guards the start of calls against the end
	ended bool
	calls sync.WaitGroup
}

// limits are what the peer may do.
type limits struct {
	streams       int
	messageBytes  int
	bufferedBytes int64
	firstCall     time.Duration // from the opening of a stream to what is called
}

func newSession(conn *quic.Conn, cfg Config, release func()) (*Session, error) {
	s := &Session{
		conn:    conn,
		log:     cfg.Logger,
		limits:  limits{cfg.MaxStreams, cfg.MaxMessageBytes, cfg.MaxBufferedBytes, cfg.HandshakeTimeout},
		release: release,
		done:    make(chan struct{}),
	}
	if certs := conn.ConnectionState().TLS.PeerCertificates; len(certs) > 0 {
		var err error
		if s.peer, err = identity.PeerFromCertificate(certs[0]); err != nil {
			return nil, Error(Denied, "link: %w", err)
		}
	}
	if s.peer.Anonymous() {
		s.limits.streams = anonymousStreams
		s.limits.messageBytes = min(cfg.MaxMessageBytes, anonymousMessageBytes)
		s.limits.bufferedBytes = anonymousStreams * anonymousMessageBytes
	}
	context.AfterFunc(conn.Context(), s.end)
	return s, nil
}

// end runs once, after the connection has ended; Done closes when it returns.
func (s *Session) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.calls.Wait()
	s.release()
	close(s.done)
}

// track runs f in a goroutine that the end of the session waits for.
func (s *Session) track(f func()) {
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.calls.Go(f)
	}
	s.mu.Unlock()
	if ended {
		f() // does not block: all that a call may wait for has failed by now
	}
}

// Peer returns who is at the other end, verified by the TLS configuration; the
// zero Peer if it has no certificate.
func (s *Session) Peer() identity.Peer { return s.peer }

// RemoteAddr returns the address of the peer as of now; it may move.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// LocalAddr returns the own address.
func (s *Session) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RTT returns the smoothed round-trip time, 0 while it is unknown.
func (s *Session) RTT() time.Duration { return s.conn.ConnectionStats().SmoothedRTT }

// Done is closed when the session has ended and freed what it held.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended, with a class; nil while it lives. If an
// end closed it, the error is a *CloseError.
func (s *Session) Err() error {
	if s.conn.Context().Err() == nil {
		return nil
	}
	return sessionError(context.Cause(s.conn.Context()))
}

// Close ends the session and tells the peer why. Calls in progress end with an
// error at both ends. It returns when all is freed. Closing again does nothing.
func (s *Session) Close(code Code, reason string) {
	_ = s.conn.CloseWithError(quic.ApplicationErrorCode(code), truncate(reason, 256))
	<-s.done
}

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// SendDatagram sends b, at most about 1100 bytes, without any promise that it
// arrives. It is copied.
func (s *Session) SendDatagram(b []byte) error {
	err := s.conn.SendDatagram(b)
	var big *quic.DatagramTooLargeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &big):
		return Error(Exhausted, "send datagram of %d bytes: %w", len(b), err)
	case s.Err() != nil:
		return Error(Unavailable, "send datagram: %w", s.Err())
	}
	return Error(Unavailable, "send datagram: %w", err)
}

// ReceiveDatagram returns the next datagram of the peer. Those that nobody
// receives are dropped.
func (s *Session) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := s.conn.ReceiveDatagram(ctx)
	for err == nil && isAlive(b) {
		b, err = s.conn.ReceiveDatagram(ctx)
	}
	switch {
	case err == nil:
		return b, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.Err() != nil:
		return nil, s.Err()
	}
	return nil, Error(Unavailable, "receive datagram: %w", err)
}

// Conn returns a drpc connection on which any number of calls may be made at
// once: each gets a stream of its own. Cancelling the context of a call resets
// its stream at both ends. Errors of calls have a class. Closing the connection
// closes the session.
func (s *Session) Conn() drpc.Conn { return callConn{s} }

type sessionKey struct{}

// SessionFromContext returns the session over which the call came that a
// handler with ctx serves; nil elsewhere.
func SessionFromContext(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// PeerFromContext returns who made the call that a handler with ctx serves: the
// zero Peer if that is anonymous, or if ctx is none of a handler.
func PeerFromContext(ctx context.Context) identity.Peer {
	if s := SessionFromContext(ctx); s != nil {
		return s.peer
	}
	return identity.Peer{}
}

// ContextWithSession returns a context as handlers on s have it, for tests of
// handlers without a network.
func ContextWithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}
