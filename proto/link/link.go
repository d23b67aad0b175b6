// Package link carries everything that a child and its parent say to each other:
// one QUIC connection, dialled by the child, over which both call each other.
//
// Each call is one drpc RPC on a QUIC stream of its own, so that nothing queues
// behind a large answer; samples that may get lost go as datagrams. The package
// owns sessions, their limits against hostile peers, the classes of errors that
// cross the wire, and how a child finds and keeps its parent (Uplink). It knows
// nothing of what is said: services are in proto/edgeio/v1, and who may connect
// is decided by the TLS configuration, from proto/identity. It is the only
// package that imports quic-go.
package link

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"
)

// Defaults of Config.
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultIdleTimeout      = 60 * time.Second
	// DefaultKeepAlive is below the 30 s after which home routers, at worst,
	// forget a UDP mapping (RFC 4787 asks for 120 s; many do not heed it).
	DefaultKeepAlive        = 20 * time.Second
	DefaultMaxMessageBytes  = 4 << 20
	DefaultMaxBufferedBytes = 32 << 20
	DefaultMaxStreams       = 1024
	DefaultMaxConnections   = 20_000
	DefaultMaxAnonymous     = 128
	DefaultAnonymousLife    = 30 * time.Second
	DefaultHandshakeRate    = 100
)

// Limits for peers without a certificate, who may do nothing but enrol.
const (
	anonymousStreams      = 2
	anonymousMessageBytes = 64 << 10
)

// Config is how an end of a link behaves. Zero fields get the defaults above.
type Config struct {
	// TLS authenticates the peer: see identity.Store and identity.EnrolTLS.
	// Sessions believe what it lets through.
	TLS *tls.Config
	// Logger gets what no caller can be told; nil discards it.
	Logger *slog.Logger

	HandshakeTimeout time.Duration
	IdleTimeout      time.Duration // after which a silent peer is given up; the smaller one of both ends counts
	KeepAlive        time.Duration // sent by the dialling end
	MaxMessageBytes  int           // of one message
	MaxBufferedBytes int64         // of incomplete messages of one session
	MaxStreams       int           // calls that the peer may have open at a time

	// The rest is for listeners.

	MaxConnections int           // handshakes included
	MaxAnonymous   int           // sessions without a certificate
	AnonymousLife  time.Duration // of such a session
	HandshakeRate  int           // per second; above it, callers must prove their address first (QUIC Retry)
	// ResetKey, the same over restarts, lets peers notice a restart at once; see
	// identity.Store.DeriveKey. Nil: they notice by the idle timeout.
	ResetKey *[32]byte
}

func (c Config) withDefaults() (Config, error) {
	if c.TLS == nil {
		return c, errors.New("link: no TLS configuration")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.KeepAlive, DefaultKeepAlive)
	setDefault(&c.MaxMessageBytes, DefaultMaxMessageBytes)
	setDefault(&c.MaxBufferedBytes, DefaultMaxBufferedBytes)
	setDefault(&c.MaxStreams, DefaultMaxStreams)
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.MaxAnonymous, DefaultMaxAnonymous)
	setDefault(&c.AnonymousLife, DefaultAnonymousLife)
	setDefault(&c.HandshakeRate, DefaultHandshakeRate)
	return c, nil
}

func setDefault[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Flow control windows. They begin small, since most of thousands of sessions
// are idle, and grow where data is being read. The first window of a connection
// is all that a peer without a certificate ever gets.
const (
	streamWindow    = 64 << 10
	maxStreamWindow = 6 << 20
	connWindow      = 128 << 10
	maxConnWindow   = 16 << 20
)

func (c Config) quic() *quic.Config {
	return &quic.Config{
		Versions: []quic.Version{quic.Version1},
		// quic-go gives up after this long without a packet, and after twice this
		// long in any case.
		HandshakeIdleTimeout:           c.HandshakeTimeout / 2,
		MaxIdleTimeout:                 c.IdleTimeout,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		MaxIncomingStreams:             int64(c.MaxStreams),
		MaxIncomingUniStreams:          -1,
		EnableDatagrams:                true,
	}
}
