package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ALPN is the application protocol of a link; its number changes when two
// versions could not understand each other at all.
const ALPN = "edgeio/1"

// TLSOptions are what a TLS configuration needs besides the identity.
type TLSOptions struct {
	// Clock tells the time; nil is time.Now.
	Clock func() time.Time
	// Refuse is asked about each peer whose certificate is good by itself; an
	// error, such as that it was revoked, ends the handshake. It may be nil. It
	// is called from many goroutines.
	Refuse func(peer Peer, cert *x509.Certificate) error
	// Accept lists the kinds of peers to talk to. Empty: any kind for a server;
	// root and cluster for a client, since a node is nobody's parent.
	Accept []Kind
}

func (o TLSOptions) now() time.Time {
	if o.Clock == nil {
		return time.Now()
	}
	return o.Clock()
}

func (o TLSOptions) check(peer Peer, cert *x509.Certificate) error {
	if len(o.Accept) > 0 && !slices.Contains(o.Accept, peer.Kind) {
		return fmt.Errorf("%w: %s is a %s, which is not expected here", ErrUntrusted, peer, peer.Kind)
	}
	if o.Refuse != nil {
		if err := o.Refuse(peer, cert); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUntrusted, peer, err)
		}
	}
	return nil
}

// ServerTLS returns the configuration of the listening end. It asks for a
// certificate but lets callers in without one, so that they can enrol; a
// certificate that is offered must be good. Each handshake uses the
// certificate and the roots as they are in the store at that time.
func (s *Store) ServerTLS(o TLSOptions) *tls.Config {
	c := baseTLS()
	c.ClientAuth = tls.RequestClientCert
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() }
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		return s.verifyPeer(cs.PeerCertificates, o)
	}
	return c
}

// ClientTLS returns the configuration of the dialling end of an enrolled
// process.
func (s *Store) ClientTLS(o TLSOptions) *tls.Config {
	if len(o.Accept) == 0 {
		o.Accept = []Kind{Root, Cluster}
	}
	c := baseTLS()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.certificate() }
	c.VerifyConnection = func(cs tls.ConnectionState) error { return s.verifyPeer(cs.PeerCertificates, o) }
	return c
}

// HTTPSConfig returns the configuration of a server of HTTPS under the own
// certificate, for clients that trust the authority and have no certificate.
func (s *Store) HTTPSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() },
	}
}

func (s *Store) verifyPeer(chain []*x509.Certificate, o TLSOptions) error {
	roots := s.roots()
	if roots == nil {
		return ErrNotEnrolled
	}
	peer, err := Verify(chain, roots, s.Now(o.now()))
	if err != nil {
		return err
	}
	return o.check(peer, chain[0])
}

// EnrolTLS returns the configuration of the dialling end of a process that has
// a join token and no certificate yet. The server must show a chain that ends
// at the authority which the token pins.
func EnrolTLS(pin Pin, o TLSOptions) *tls.Config {
	if len(o.Accept) == 0 {
		o.Accept = []Kind{Root, Cluster}
	}
	c := baseTLS()
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		peer, err := verifyPinned(cs.PeerCertificates, pin, o.now())
		if err != nil {
			return err
		}
		return o.check(peer, cs.PeerCertificates[0])
	}
	return c
}

// verifyPinned verifies a chain whose last certificate is the pinned authority.
// A process that enrols has no lower bound for the time of its own yet, so what
// the authority signed serves as one: see Store.Now.
func verifyPinned(chain []*x509.Certificate, pin Pin, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, fmt.Errorf("%w: the chain is empty", ErrUntrusted)
	}
	authority := chain[len(chain)-1]
	if PinOf(authority) != pin {
		return Peer{}, fmt.Errorf("%w: the server belongs to another authority than the join token; check the address, or get a token there", ErrUntrusted)
	}
	// The pin alone covers the key. The certificate must be signed with it, or
	// anyone could put the key into a certificate of their own.
	if err := authority.CheckSignatureFrom(authority); err != nil {
		return Peer{}, fmt.Errorf("%w: the authority's certificate is not signed by itself: %w", ErrUntrusted, err)
	}
	for _, c := range chain {
		now = later(now, c.NotBefore)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return Verify(chain, roots, now)
}

func baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{ALPN},
		// Resumption would skip the checks of a new certificate or revocation.
		SessionTicketsDisabled: true,
		// Only switches off verification by host name; VerifyConnection, set by
		// all callers, verifies by the rules of this package.
		InsecureSkipVerify: true,
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// ErrNotEnrolled is returned by what needs a certificate when there is none.
var ErrNotEnrolled = errors.New("not enrolled yet: join with a token first")
