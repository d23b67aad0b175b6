package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Listener takes sessions from children.
type Listener struct {
	cfg       Config
	socket    *net.UDPConn
	transport *quic.Transport
	quic      *quic.Listener

	connections atomic.Int64
	anonymous   atomic.Int64
	trusted     sync.Map // *quic.Conn of peers with a certificate

	mu       sync.Mutex
	sessions map[*Session]struct{}
	closed   bool
}

// Listen opens addr, "host:port", for sessions. Port 0 takes a free one.
func Listen(addr string, cfg Config) (*Listener, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	socket, err := openUDP(udp)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	l := &Listener{cfg: cfg, socket: socket, sessions: map[*Session]struct{}{}}
	rate := newRateLimit(cfg.HandshakeRate, time.Now)
	l.transport = &quic.Transport{
		Conn:                socket,
		VerifySourceAddress: func(net.Addr) bool { return !rate.allow() },
		ConnContext:         l.admit,
	}
	if cfg.ResetKey != nil {
		key := quic.StatelessResetKey(*cfg.ResetKey)
		l.transport.StatelessResetKey = &key
	}
	conf := cfg.quic()
	conf.AllowConnectionWindowIncrease = func(conn *quic.Conn, _ uint64) bool {
		_, ok := l.trusted.Load(conn)
		return ok
	}
	if l.quic, err = l.transport.Listen(cfg.TLS, conf); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), socket.Close())
	}
	return l, nil
}

// admit bounds the number of connections, those in the handshake included.
func (l *Listener) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if l.connections.Add(1) > int64(l.cfg.MaxConnections) {
		l.connections.Add(-1)
		return nil, errors.New("too many connections")
	}
	context.AfterFunc(ctx, func() { l.connections.Add(-1) })
	return ctx, nil
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Accept returns the next session, whose handshake is complete. It fails when
// ctx ends or the listener is closed, then with net.ErrClosed.
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	for {
		conn, err := l.quic.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("accept link: %w: %w", net.ErrClosed, err)
		}
		s, err := l.session(conn)
		if err == nil {
			return s, nil
		}
		l.cfg.Logger.Warn("refused a link", "remote", conn.RemoteAddr().String(), "error", err)
	}
}

func (l *Listener) session(conn *quic.Conn) (*Session, error) {
	anonymous := len(conn.ConnectionState().TLS.PeerCertificates) == 0
	if anonymous && l.anonymous.Add(1) > int64(l.cfg.MaxAnonymous) {
		l.anonymous.Add(-1)
		_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeBusy), "too many others are enrolling; try again")
		return nil, errors.New("too many anonymous peers")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeShutdown), "shutting down")
		return nil, net.ErrClosed
	}
	var s *Session
	var timer *time.Timer
	s, err := newSession(conn, l.cfg, func() {
		l.mu.Lock() // also orders this after the assignments below
		defer l.mu.Unlock()
		delete(l.sessions, s)
		l.trusted.Delete(conn)
		if anonymous {
			timer.Stop()
			l.anonymous.Add(-1)
		}
	})
	if err != nil {
		if anonymous {
			l.anonymous.Add(-1)
		}
		_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeProtocol), err.Error())
		return nil, err
	}
	l.sessions[s] = struct{}{}
	if anonymous {
		timer = time.AfterFunc(l.cfg.AnonymousLife, func() {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeAnonymous), "the time to enrol is over")
		})
	} else {
		l.trusted.Store(conn, struct{}{})
	}
	return s, nil
}

// Close ends all sessions with CodeShutdown, and frees the address.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	var open []*Session
	for s := range l.sessions {
		open = append(open, s)
	}
	l.mu.Unlock()
	err := l.quic.Close()
	var ends sync.WaitGroup
	for _, s := range open {
		ends.Go(func() { s.Close(CodeShutdown, "shutting down") })
	}
	ends.Wait()
	return errors.Join(err, l.transport.Close(), closeSocket(l.socket))
}

// Dial opens a session to addr, "host:port". It returns once the peer's
// certificate is verified; that the peer accepts ours shows with the first call.
func Dial(ctx context.Context, addr string, cfg Config) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, Error(Unavailable, "connect to %s: %w", addr, err)
	}
	var failures []error
	for i, udp := range addrs {
		// An address that does not answer leaves its share of time to the others.
		share := timeShare(ctx, len(addrs)-i)
		s, err := dialOne(ctx, share, udp, cfg)
		if err == nil {
			return s, nil
		}
		failures = append(failures, fmt.Errorf("connect to %s (%s): %w", addr, udp, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func timeShare(ctx context.Context, parts int) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline) / time.Duration(parts)
}

func dialOne(ctx context.Context, limit time.Duration, addr *net.UDPAddr, cfg Config) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, noAnswer(limit))
	defer cancel()
	socket, err := openUDP(&net.UDPAddr{IP: unspecified(addr)})
	if err != nil {
		return nil, Error(Unavailable, "open socket: %w", err)
	}
	t := &quic.Transport{Conn: socket}
	release := func() { _, _ = t.Close(), closeSocket(socket) }
	conf := cfg.quic()
	// QUIC's own only steps in where the idle timeout of the peer is a short one.
	conf.KeepAlivePeriod = cfg.KeepAlive * 3 / 2
	conn, err := t.Dial(ctx, addr, cfg.TLS, conf)
	if err != nil {
		release()
		var silent *quic.IdleTimeoutError
		switch {
		case errors.As(err, &silent):
			return nil, noAnswer(limit)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		return nil, sessionError(err)
	}
	s, err := newSession(conn, cfg, release)
	if err != nil {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeProtocol), err.Error())
		release()
		return nil, err
	}
	s.track(func() { s.keepAlive(conn.Context(), cfg.KeepAlive) })
	return s, nil
}

func noAnswer(limit time.Duration) error {
	return Error(Unavailable, "no answer within %s; is the address right, and does a firewall let UDP through?", limit.Round(time.Millisecond))
}

// unspecified binds to the family of the peer only: a socket for both would
// fail where IPv6 is switched off.
func unspecified(peer *net.UDPAddr) net.IP {
	if peer.IP.To4() != nil {
		return net.IPv4zero
	}
	return net.IPv6unspecified
}

// resolve returns at most one address per family.
func resolve(ctx context.Context, addr string) ([]*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: write it as host:port", err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%q is not a port", service)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []*net.UDPAddr
	var seen [2]bool
	for _, ip := range ips {
		ip = ip.Unmap()
		family := 0
		if ip.Is6() {
			family = 1
		}
		if seen[family] {
			continue
		}
		seen[family] = true
		out = append(out, &net.UDPAddr{IP: ip.AsSlice(), Port: int(port), Zone: ip.Zone()})
	}
	return out, nil
}

// openUDP opens a socket. quic-go then asks for 7 MiB of buffers and prints a
// warning past our logger if the kernel gives less. Links carry little, so that
// is of no interest, and the environment is the only switch that it offers.
func openUDP(addr *net.UDPAddr) (*net.UDPConn, error) {
	const quiet = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(quiet); !set {
		_ = os.Setenv(quiet, "true")
	}
	return net.ListenUDP("udp", addr)
}

func closeSocket(c *net.UDPConn) error {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
