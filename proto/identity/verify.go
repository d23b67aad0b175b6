package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrUntrusted is in the chain of each error of Verify.
var ErrUntrusted = errors.New("certificate refused")

// Verify decides whether chain, leaf first, proves who its leaf is, as of now.
// The rules: the authority (one of roots) issues leaves of any kind; a cluster's
// intermediate, issued by the authority itself, issues leaves of nodes. Nothing
// else is believed.
func Verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (Peer, error) {
	peer, err := verify(chain, roots, now)
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return peer, nil
}

func verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, errors.New("the chain is empty")
	}
	leaf := chain[0]
	if leaf.IsCA {
		return Peer{}, fmt.Errorf("%q is an authority, not a process", leaf.Subject.CommonName)
	}
	peer, err := PeerFromCertificate(leaf)
	if err != nil {
		return Peer{}, err
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	found, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Peer{}, explain(peer, leaf, now, err)
	}
	for _, path := range found {
		if err = checkPath(peer, path); err == nil {
			return peer, nil
		}
	}
	return Peer{}, err
}

// checkPath applies the rules of edgeIO to a path that is good by X.509.
func checkPath(peer Peer, path []*x509.Certificate) error {
	switch len(path) {
	case 2: // leaf, authority
		return nil
	case 3: // leaf, intermediate, authority
		ca := path[1]
		host, _, err := subject(ca)
		if err != nil || host != uriClusterCA {
			return fmt.Errorf("%s: its issuer %q is not the intermediate of a cluster", peer, ca.Subject.CommonName)
		}
		if peer.Kind != Node {
			return fmt.Errorf("%s: the intermediate of a cluster may only issue certificates of nodes", peer)
		}
		return nil
	}
	return fmt.Errorf("%s: the chain has %d certificates", peer, len(path))
}

// explain turns the errors of x509 that people meet into what they can act on.
func explain(peer Peer, leaf *x509.Certificate, now time.Time, err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		if c == nil {
			c = leaf
		}
		if now.Before(c.NotBefore) {
			return fmt.Errorf("%s: %q is not valid before %s, and the clock here says %s: set the clock: %w",
				peer, c.Subject.CommonName, stamp(c.NotBefore), stamp(now), err)
		}
		return fmt.Errorf("%s: %q expired at %s, and the clock here says %s: %w",
			peer, c.Subject.CommonName, stamp(c.NotAfter), stamp(now), err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s was certified by another authority than the one trusted here: %w", peer, err)
	}
	return fmt.Errorf("%s: %w", peer, err)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
